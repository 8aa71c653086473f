// The traffic state of the apps, in memory and on disk.
//
// Shared memory signalbox_state (survives reloads, lost at a restart):
//   app -> "<mode>|<green share>|<retry after>|<blue release>|<green release>\n<state as JSON>"
//   the first line is all that a request needs; it spares the hot path a JSON.parse
import fs from 'fs';

const STATE_DIRECTORY = '/var/lib/signalbox/edge/state/';
const SLOTS = ['blue', 'green'];
const MODES = ['open', 'read_only', 'closed'];
const NAME = /^[a-z][a-z0-9-]{0,30}[a-z0-9]$/;
const RELEASE = /^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$/;

// A preloaded object has no methods, not even an array's.
function plainList(preloaded) {
    const names = [];
    for (let i = 0; i < preloaded.length; i++) {
        names.push(preloaded[i]);
    }
    return names;
}

function knownApps() {
    return plainList(signalbox_settings.apps);
}

// Apps whose clients' keys are checked here.
function keyedApps() {
    return plainList(signalbox_settings.keyed);
}

function whole(value, low, high) {
    return typeof value === 'number' && value >= low && value <= high && Math.floor(value) === value;
}

function problem(state, app) {
    if (state === null || typeof state !== 'object' || Array.isArray(state)) {
        return 'the state must be a JSON object';
    }
    if (state.app !== app) {
        return `app must be "${app}"`;
    }
    if (!whole(state.generation, 1, 9007199254740991)) {
        return 'generation must be a whole number from 1';
    }
    if (MODES.indexOf(state.mode) < 0) {
        return 'mode must be open, read_only or closed';
    }
    const weights = state.weights;
    if (!weights || !whole(weights.blue, 0, 100) || !whole(weights.green, 0, 100)) {
        return 'weights must hold whole numbers from 0 to 100 for blue and green';
    }
    const sum = weights.blue + weights.green;
    if (sum !== 0 && sum !== 100) {
        return 'weights must sum to 100, or both be 0 when no release is live';
    }
    if (!whole(state.retry_after_seconds, 0, 86400)) {
        return 'retry_after_seconds must be a whole number from 0 to 86400';
    }
    const releases = state.releases;
    for (let i = 0; i < SLOTS.length; i++) {
        const release = releases ? releases[SLOTS[i]] : undefined;
        if (release !== null && (typeof release !== 'string' || !RELEASE.test(release))) {
            return `releases.${SLOTS[i]} must be a version or null`;
        }
    }
    if (typeof state.updated !== 'string' || state.updated.length > 64) {
        return 'updated must be a time';
    }
    return '';
}

function encode(state) {
    const live = state.weights.blue + state.weights.green > 0;
    const head = [state.mode, live ? state.weights.green : -1, state.retry_after_seconds,
                  state.releases.blue || '', state.releases.green || ''];
    // Only the fields of the contract are kept, in one order: equal states have equal text.
    return head.join('|') + '\n' + JSON.stringify({
        app: state.app,
        generation: state.generation,
        mode: state.mode,
        weights: {blue: state.weights.blue, green: state.weights.green},
        releases: {blue: state.releases.blue, green: state.releases.green},
        retry_after_seconds: state.retry_after_seconds,
        updated: state.updated
    });
}

function decode(record) {
    return JSON.parse(record.slice(record.indexOf('\n') + 1));
}

// The record of an app; read from its file when memory has none, that is once after a start. add() keeps the first writer's,
// so a file read late never overwrites a state that was set meanwhile.
function load(app) {
    const states = ngx.shared.signalbox_state;
    const record = states.get(app);
    if (record !== undefined || !NAME.test(app)) {
        return record;
    }
    let text;
    try {
        text = fs.readFileSync(STATE_DIRECTORY + app + '.json', 'utf8');
    } catch (error) {
        if (error.code !== 'ENOENT') {
            ngx.log(ngx.ERR, `signalbox: state file of ${app} is not readable: ${error.message}`);
        }
        return undefined;
    }
    try {
        const state = JSON.parse(text);
        const wrong = problem(state, app);
        if (wrong) {
            throw new Error(wrong);
        }
        states.add(app, encode(state));
    } catch (error) {
        ngx.log(ngx.ERR, `signalbox: state file of ${app} is not valid: ${error.message}`);
        return undefined;
    }
    return states.get(app);
}

export default {SLOTS, MODES, knownApps, keyedApps, whole, problem, encode, decode, load};
