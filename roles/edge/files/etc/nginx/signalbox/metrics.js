// Counters and state as Prometheus text.
import counters from './counters.js';
import keys from './keys.js';
import state from './state.js';

function label(text) {
    return String(text).replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n');
}

function labels(pairs) {
    const parts = [];
    for (let name in pairs) {
        parts.push(`${name}="${label(pairs[name])}"`);
    }
    return parts.length ? `{${parts.join(',')}}` : '';
}

function family(lines, name, type, help, samples) {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    samples.forEach((sample) => {
        lines.push(`${name}${sample[2] || ''}${labels(sample[0])} ${sample[1]}`);
    });
}

// rows(pick) calls pick(labels, slot counters) for each app and slot and joins what it returns.
function rows(apps, pick) {
    let all = [];
    for (let app in apps) {
        state.SLOTS.forEach((slot) => {
            all = all.concat(pick({app: app, slot: slot}, apps[app].slots[slot]));
        });
    }
    return all;
}

function withLabel(base, name, value) {
    const copy = {};
    for (let key in base) {
        copy[key] = base[key];
    }
    copy[name] = value;
    return copy;
}

function histogram(base, slot) {
    const samples = slot.latency.le.map((bound, i) => [withLabel(base, 'le', bound), slot.latency.counts[i], '_bucket']);
    samples.push([withLabel(base, 'le', '+Inf'), slot.latency.count, '_bucket']);
    samples.push([base, slot.latency.sum, '_sum'], [base, slot.latency.count, '_count']);
    return samples;
}

function counterFamilies(lines, apps) {
    family(lines, 'signalbox_edge_requests_total', 'counter', 'Requests that a slot answered, streams among them, by status class.',
           rows(apps, (base, slot) => counters.CLASSES.map((name) => [withLabel(base, 'class', name), slot.requests[name]])));
    family(lines, 'signalbox_edge_errors_total', 'counter', 'Requests that ended in 5xx or needed a second server.',
           rows(apps, (base, slot) => [[base, slot.errors]]));
    family(lines, 'signalbox_edge_request_duration_seconds', 'histogram', 'Time the slot took; streams are left out.',
           rows(apps, histogram));
    family(lines, 'signalbox_edge_in_flight', 'gauge', 'Requests and streams in flight.',
           rows(apps, (base, slot) => [[base, slot.in_flight]]));
    family(lines, 'signalbox_edge_streams_in_flight', 'gauge', 'Of the requests in flight, event streams and upgraded connections.',
           rows(apps, (base, slot) => [[base, slot.streams_in_flight]]));
    family(lines, 'signalbox_edge_streams_total', 'counter', 'Streams that ended.',
           rows(apps, (base, slot) => [[base, slot.streams]]));
    family(lines, 'signalbox_edge_preview_requests_total', 'counter', 'Requests that came by the preview socket.',
           rows(apps, (base, slot) => [[base, slot.preview]]));
    const refused = [];
    for (let app in apps) {
        for (let status in apps[app].refused) {
            refused.push([{app: app, status: status}, apps[app].refused[status]]);
        }
    }
    family(lines, 'signalbox_edge_refused_total', 'counter', 'Requests that ended at the edge without reaching a slot.', refused);
}

function stateFamilies(lines) {
    const weights = [];
    const modes = [];
    const releases = [];
    const generations = [];
    state.knownApps().forEach((app) => {
        const record = state.load(app);
        if (record === undefined) {
            return;
        }
        const now = state.decode(record);
        state.SLOTS.forEach((slot) => {
            weights.push([{app: app, slot: slot}, now.weights[slot]]);
            if (now.releases[slot]) {
                releases.push([{app: app, slot: slot, release: now.releases[slot]}, 1]);
            }
        });
        state.MODES.forEach((mode) => modes.push([{app: app, mode: mode}, now.mode === mode ? 1 : 0]));
        generations.push([{app: app}, now.generation]);
    });
    family(lines, 'signalbox_edge_weight_percent', 'gauge', 'Share of new requests that the slot gets.', weights);
    family(lines, 'signalbox_edge_mode', 'gauge', '1 for the mode in force.', modes);
    family(lines, 'signalbox_edge_release_info', 'gauge', 'The release in a slot.', releases);
    family(lines, 'signalbox_edge_state_generation', 'gauge', 'Generation of the traffic state.', generations);
}

// Apps with keys of clients have a sample of each kind from the start, so that an increase is seen.
function keyFamilies(lines, apps) {
    const requests = [];
    const accepted = [];
    const expires = [];
    state.keyedApps().forEach((app) => {
        for (let result in apps[app].client_keys) {
            requests.push([{app: app, result: result}, apps[app].client_keys[result]]);
        }
        const record = keys.load(app);
        const now = record === undefined ? undefined : keys.view(record);
        accepted.push([{app: app}, now === undefined ? 0 : keys.accepted(now).length]);
        if (now !== undefined && now.previous_expires) {
            expires.push([{app: app}, now.previous_expires]);
        }
    });
    family(lines, 'signalbox_edge_client_key_requests_total', 'counter', "Requests by what became of the client's key.", requests);
    family(lines, 'signalbox_edge_client_keys', 'gauge', 'Keys that are accepted; 0 when none were loaded: all is refused then.',
           accepted);
    family(lines, 'signalbox_edge_client_key_previous_expires_time_seconds', 'gauge', 'When the former key is refused.', expires);
}

function metrics(r) {
    const all = counters.collect();
    const lines = [];
    counterFamilies(lines, all.apps);
    stateFamilies(lines);
    if (state.keyedApps().length > 0) {
        keyFamilies(lines, all.apps);
    }
    const found = counters.workers();
    family(lines, 'signalbox_edge_workers', 'gauge', 'nginx workers; those shutting down serve what is left from before a reload.',
           [[{state: 'active'}, found.active], [{state: 'shutting_down'}, found.shutting_down]]);
    family(lines, 'signalbox_edge_connections', 'gauge', 'Client connections.',
           ['active', 'reading', 'writing', 'waiting'].map((name) => [{state: name}, Number(r.variables['connections_' + name])]));
    family(lines, 'signalbox_edge_counters_start_time_seconds', 'gauge', 'When the counters began.', [[{}, all.since / 1000]]);
    family(lines, 'signalbox_edge_counters_free_bytes', 'gauge', 'Free memory for counters.',
           [[{}, ngx.shared.signalbox_counters.freeSpace()]]);
    family(lines, 'signalbox_edge_config_info', 'gauge', 'The configuration in force.', [[{config: signalbox_settings.config}, 1]]);
    r.headersOut['Content-Type'] = 'text/plain; version=0.0.4; charset=utf-8';
    r.return(200, lines.join('\n') + '\n');
}

export default {metrics};
