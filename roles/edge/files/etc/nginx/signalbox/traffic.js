// What a request passes through: which slot serves it, what a slot has in flight, and the edge's own answers.
// This file and state.js are read anew for every request: what a request does not need stands in the other files.
//
// Shared memory signalbox_counters (survives reloads, lost at a restart):
//   f|app|slot|pid          requests in flight, kept per worker so that a killed worker's share can be dropped
//   g|app|slot|pid          of these, streams
//   h|app|slot|class|bucket finished plain requests: one cell gives requests by class and the histogram
//   s|app|slot|class        finished streams
//   t|app|slot              seconds spent by plain requests
//   e|app|slot              errors
//   p|app|slot              preview requests
//   r|app|status            answers the edge gave without asking a slot
//   k|app|result            what became of a client's key (keys.js)
//   since                   start of the counters in epoch milliseconds
import state from './state.js';

// Seconds. The last bucket is +Inf.
const BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

// ---- a request's slot ------------------------------------------------------------------------------------------------

// FNV-1a with murmur3's finish, which spreads keys that differ in the last character only; 0..9999.
function bucket(text) {
    let hash = 0x811c9dc5;
    for (let i = 0; i < text.length; i++) {
        hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    }
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    return ((hash ^ (hash >>> 16)) >>> 0) % 10000;
}

// Green serves the lowest buckets: when its share grows, everyone who was on green stays there, and the same for blue.
function weighted(app, green, variables) {
    if (green === 0 || green === 100) {
        return green ? 'green' : 'blue';
    }
    const key = variables.sb_sticky || variables.remote_addr;
    return bucket(app + '|' + key) < green * 100 ? 'green' : 'blue';
}

function claim(variables, app, slot) {
    try {
        ngx.shared.signalbox_counters.incr('f|' + app + '|' + slot + '|' + process.pid, 1, 0);
    } catch (error) {
        // A full zone must not cost a request; it costs the exactness of drain, which is why it is loud.
        ngx.log(ngx.ERR, `signalbox: request not counted: ${error.message}`);
        variables.sb_claim = '0';
    }
    return slot;
}

// js_set of $sb_choice, read once per request by "set $sb_slot $sb_choice": the slot, or '' with $sb_refusal set.
function choose(r) {
    const variables = r.variables;
    const app = variables.sb_app;
    const states = ngx.shared.signalbox_state;
    let record = states.get(app);
    if (record === undefined) {
        record = state.load(app);
        if (record === undefined) {
            variables.sb_refusal = 'no_release';
            return '';
        }
    }
    const fields = record.slice(0, record.indexOf('\n')).split('|');
    const green = Number(fields[1]);
    if (green < 0) {
        variables.sb_refusal = 'no_release';
        return '';
    }
    const mode = fields[0];
    if (mode !== 'open' && r.uri !== variables.sb_health_path) {
        const reads = r.method === 'GET' || r.method === 'HEAD' || r.method === 'OPTIONS';
        if (mode === 'closed' || !reads) {
            variables.sb_refusal = mode;
            variables.sb_retry_after = fields[2];
            return '';
        }
    }
    const slot = weighted(app, green, variables);
    variables.sb_release = slot === 'blue' ? fields[3] : fields[4];
    return claim(variables, app, slot);
}

// The same for the preview socket: the slot named by the operator, else the idle one; modes do not apply.
function preview(r) {
    const variables = r.variables;
    const app = variables.sb_app;
    const named = r.headersIn['X-Signalbox-Slot'];
    const record = state.load(app);
    const fields = record === undefined ? ['', '-1', '', '', ''] : record.slice(0, record.indexOf('\n')).split('|');
    const green = Number(fields[1]);
    let slot = named;
    if (named === undefined) {
        // With no live release blue is the slot a first release starts in; during a canary the smaller share is the new one.
        slot = green < 0 || green > 50 ? 'blue' : 'green';
    } else if (state.SLOTS.indexOf(named) < 0) {
        variables.sb_refusal = 'no_such_slot';
        return '';
    }
    variables.sb_release = slot === 'blue' ? fields[3] : fields[4];
    return claim(variables, app, slot);
}

// ---- counting -------------------------------------------------------------------------------------------------------

// js_header_filter of proxied answers: an event stream or an upgraded connection counts as a stream from here on.
function header(r) {
    const type = r.headersOut['Content-Type'];
    if (r.status !== 101 && (type === undefined || !type.startsWith('text/event-stream'))) {
        return;
    }
    const variables = r.variables;
    if (variables.sb_stream || variables.sb_claim === '0') {
        return;
    }
    try {
        ngx.shared.signalbox_counters.incr('g|' + variables.sb_app + '|' + variables.sb_slot + '|' + process.pid, 1, 0);
        variables.sb_stream = '1';
    } catch (error) {
        ngx.log(ngx.ERR, `signalbox: stream not counted: ${error.message}`);
    }
}

// Seconds the slot took over all tries. The client's own slowness in sending its body is not the release's fault,
// so this is $upstream_response_time and not $request_time. "-" stands for a try that never got an answer.
function seconds(times) {
    const direct = Number(times);
    if (direct >= 0) {
        return direct;
    }
    const parts = times.split(/[,:]/);
    let sum = 0;
    for (let i = 0; i < parts.length; i++) {
        sum += Number(parts[i]) || 0;
    }
    return sum;
}

function cell(value) {
    let low = 0;
    while (low < BOUNDS.length && value > BOUNDS[low]) {
        low++;
    }
    return low;
}

function count(variables, app, slot, status) {
    const counters = ngx.shared.signalbox_counters;
    const place = app + '|' + slot;
    const times = variables.upstream_response_time;
    if (!times) {
        counters.incr('r|' + app + '|' + status, 1, 0);
        return;
    }
    if (variables.sb_preview) {
        counters.incr('p|' + place, 1, 0);
        return;
    }
    const kind = status >= 100 && status < 600 ? Math.floor(status / 100) - 1 : 5;
    // More than one time: a try failed and another server was asked. The client saw no harm, the slot did harm.
    if (kind >= 4 || times.indexOf(',') >= 0) {
        counters.incr('e|' + place, 1, 0);
    }
    if (variables.sb_stream) {
        counters.incr('s|' + place + '|' + kind, 1, 0);
        return;
    }
    const taken = seconds(times);
    counters.incr('h|' + place + '|' + kind + '|' + cell(taken), 1, 0);
    counters.incr('t|' + place, taken, 0);
}

// js_set of $sb_done, the "if=" of the access log: nginx reads it exactly once at the end of every request, before it looks
// at the log file, so a full disk loses log lines and no counts.
function done(r) {
    const variables = r.variables;
    const app = variables.sb_app;
    if (!app) {
        return '1';
    }
    const slot = variables.sb_slot;
    const counters = ngx.shared.signalbox_counters;
    try {
        if (!slot) {
            counters.incr('r|' + app + '|' + r.status, 1, 0);
            return '1';
        }
        if (variables.sb_claim !== '0') {
            const place = app + '|' + slot + '|' + process.pid;
            counters.incr('f|' + place, -1, 0);
            if (variables.sb_stream) {
                counters.incr('g|' + place, -1, 0);
            }
        }
        count(variables, app, slot, r.status);
    } catch (error) {
        ngx.log(ngx.ERR, `signalbox: request not counted: ${error.message}`);
    }
    return '1';
}

// ---- answers of the edge itself --------------------------------------------------------------------------------------

const MESSAGES = {
    no_release: ['no_release', 'No release of this service is live yet.'],
    no_such_slot: ['no_such_slot', 'X-Signalbox-Slot must be blue or green.'],
    no_keys: ['keys_not_loaded', 'This service cannot check keys at the moment. Please try again later.'],
    read_only: ['read_only', 'This service is read-only for a short time. Reading works; please send changes again later.'],
    closed: ['maintenance', 'This service is down for maintenance. Please try again later.'],
    401: ['unauthorized', 'The key is missing or not accepted.'],
    413: ['body_too_large', 'The request body is too large.'],
    429: ['rate_limited', 'Too many requests. Please slow down.'],
    502: ['bad_gateway', 'The service did not answer.'],
    503: ['unavailable', 'The service is not available.'],
    504: ['gateway_timeout', 'The service did not answer in time.']
};

function message(r) {
    const variables = r.variables;
    return MESSAGES[variables.sb_refusal] || MESSAGES[variables.status] || ['error', 'The request could not be served.'];
}

function errorJson(r) {
    const text = message(r);
    return JSON.stringify({error: {code: text[0], message: text[1], correlation_id: r.variables.sb_correlation_id}}) + '\n';
}

function errorHtml(r) {
    const text = message(r);
    return `<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>${r.variables.status}</title></head>` +
           `<body><h1>${text[1]}</h1><p>Reference: ${r.variables.sb_correlation_id}</p></body></html>\n`;
}

export default {BOUNDS, choose, preview, header, done, errorJson, errorHtml};
