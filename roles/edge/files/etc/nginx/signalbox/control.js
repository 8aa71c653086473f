// The control API: JSON over a unix socket, and the edge's periodic work. Imported by the servers in control.conf alone.
import counters from './counters.js';
import keys from './keys.js';
import metrics from './metrics.js';
import state from './state.js';

function answer(r, status, body) {
    r.headersOut['Content-Type'] = 'application/json';
    r.return(status, JSON.stringify(body) + '\n');
}

// What is under /state and /keys: a dictionary, its codec and what may be shown of a record.
const STATES = {zone: 'signalbox_state', codec: state, show: state.decode, none: 'no state: no release has been put here yet'};
const KEYS = {zone: 'signalbox_keys', codec: keys, show: keys.view, none: 'no keys have been put here yet'};

function put(r, app, kind) {
    let wanted;
    try {
        wanted = JSON.parse(r.requestText);
    } catch (error) {
        answer(r, 400, {error: 'the body is not JSON'});
        return;
    }
    const wrong = kind.codec.problem(wanted, app);
    if (wrong) {
        answer(r, 422, {error: wrong});
        return;
    }
    const records = ngx.shared[kind.zone];
    const before = records.get(app);
    const after = kind.codec.encode(wanted);
    if (before !== undefined && before !== after && kind.codec.decode(before).generation >= wanted.generation) {
        answer(r, 409, {error: 'the generation is not newer than the one in force', state: kind.show(before)});
        return;
    }
    records.set(app, after);
    answer(r, 200, kind.show(records.get(app)));
}

function one(r, app, kind) {
    if (r.method === 'PUT') {
        put(r, app, kind);
        return;
    }
    if (r.method === 'DELETE') {
        ngx.shared[kind.zone].delete(app);
        answer(r, 200, {app: app, deleted: true});
        return;
    }
    const record = kind.codec.load(app);
    if (record === undefined) {
        answer(r, 404, {error: kind.none});
        return;
    }
    answer(r, 200, kind.show(record));
}

function all(r, kind) {
    const found = {};
    state.knownApps().forEach((app) => {
        const record = kind.codec.load(app);
        if (record !== undefined) {
            found[app] = kind.show(record);
        }
    });
    answer(r, 200, found);
}

// Writes to every zone: a zone whose lock was lost with a killed worker must fail this check.
function health(r) {
    ngx.shared.signalbox_counters.add('since', Date.now());
    ngx.shared.signalbox_counters.incr('health', 1, 0);
    ngx.shared.signalbox_state.set('.health', '|-1|0||\n{}');
    ngx.shared.signalbox_keys.set('.health', '\n{}');
    answer(r, 200, {status: 'ok', config: signalbox_settings.config, worker: process.pid, workers: counters.workers(),
                    apps: state.knownApps()});
}

function control(r) {
    const parts = r.uri.split('/');
    const app = parts[2];
    const kind = parts[1] === 'state' ? STATES : parts[1] === 'keys' ? KEYS : undefined;
    if (r.method !== 'GET' && !(kind && app && (r.method === 'PUT' || r.method === 'DELETE'))) {
        answer(r, 405, {error: 'method not allowed'});
    } else if (app !== undefined && state.knownApps().indexOf(app) < 0) {
        answer(r, 404, {error: 'unknown app', apps: state.knownApps()});
    } else if (kind && parts.length === 3) {
        one(r, app, kind);
    } else if (kind && parts.length === 2) {
        all(r, kind);
    } else if (parts[1] === 'counters' && parts.length === 3) {
        answer(r, 200, counters.collect().apps[app]);
    } else if (r.uri === '/counters') {
        answer(r, 200, counters.collect().apps);
    } else if (r.uri === '/health') {
        health(r);
    } else if (r.uri === '/metrics') {
        metrics.metrics(r);
    } else {
        answer(r, 404, {error: 'not found'});
    }
}

export default {control, janitor: counters.janitor, metrics: metrics.metrics};
