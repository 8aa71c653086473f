// Reading the counters that traffic.js writes, and forgetting those of workers that are gone.
import fs from 'fs';
import state from './state.js';
import traffic from './traffic.js';

const CLASSES = ['1xx', '2xx', '3xx', '4xx', '5xx', 'none'];
const BOUNDS = traffic.BOUNDS;
const MAXIMUM_KEYS = 1000000;

// The master of a worker, from /proc; 0 when there is no such process. The name stands in brackets and may hold spaces.
function parentOf(pid) {
    try {
        const text = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
        return Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[1]);
    } catch (error) {
        return 0;
    }
}

// A worker that is gone has nothing in flight. Its number may already belong to another process, but not to one of our master's.
function alive(pid) {
    return parentOf(pid) === process.ppid;
}

// js_periodic: forgets the gauges of workers that are gone and loads states after a start. One worker, every two seconds.
function janitor() {
    const counters = ngx.shared.signalbox_counters;
    counters.add('since', Date.now());
    const keys = counters.keys(MAXIMUM_KEYS);
    const known = {};
    for (let i = 0; i < keys.length; i++) {
        const gauge = keys[i].charAt(0) === 'f' || keys[i].charAt(0) === 'g';
        if (!gauge) {
            continue;
        }
        const pid = keys[i].slice(keys[i].lastIndexOf('|') + 1);
        if (known[pid] === undefined) {
            known[pid] = alive(pid);
        }
        if (!known[pid]) {
            counters.delete(keys[i]);
        }
    }
    state.knownApps().forEach(state.load);
}

function emptySlot() {
    return {requests: {'1xx': 0, '2xx': 0, '3xx': 0, '4xx': 0, '5xx': 0, 'none': 0}, errors: 0, in_flight: 0,
            streams_in_flight: 0, streams: 0, preview: 0,
            latency: {le: BOUNDS.slice(), counts: BOUNDS.map(() => 0), sum: 0, count: 0}, reset: 0};
}

function addKey(apps, known, key, value) {
    const parts = key.split('|');
    const entry = apps[parts[1]];
    if (entry === undefined) {
        return;
    }
    if (parts[0] === 'r') {
        entry.refused[parts[2]] = value;
        return;
    }
    if (parts[0] === 'k') {
        entry.client_keys[parts[2]] = value;
        return;
    }
    const slot = entry.slots[parts[2]];
    switch (parts[0]) {
    case 'f':
    case 'g':
        if (known[parts[3]] === undefined) {
            known[parts[3]] = alive(parts[3]);
        }
        if (known[parts[3]]) {
            slot[parts[0] === 'f' ? 'in_flight' : 'streams_in_flight'] += value;
        }
        break;
    case 'h':
        slot.requests[CLASSES[Number(parts[3])]] += value;
        slot.latency.count += value;
        for (let i = Number(parts[4]); i < BOUNDS.length; i++) {
            slot.latency.counts[i] += value;
        }
        break;
    case 's':
        slot.requests[CLASSES[Number(parts[3])]] += value;
        slot.streams += value;
        break;
    case 't':
        slot.latency.sum = Math.round(value * 1000) / 1000;
        break;
    case 'e':
        slot.errors = value;
        break;
    case 'p':
        slot.preview = value;
        break;
    }
}

// All counters in one locked read, so the numbers belong together.
function collect() {
    const counters = ngx.shared.signalbox_counters;
    counters.add('since', Date.now());
    const since = counters.get('since');
    const items = counters.items(MAXIMUM_KEYS);
    const apps = {};
    const known = {};
    state.knownApps().forEach((app) => {
        apps[app] = {app: app, slots: {blue: emptySlot(), green: emptySlot()}, refused: {},
                     client_keys: {accepted_current: 0, accepted_previous: 0, accepted_next: 0, refused: 0},
                     since: new Date(since).toISOString()};
        state.SLOTS.forEach((slot) => {
            // A change of this number tells a reader that the counters began anew.
            apps[app].slots[slot].reset = Math.floor(since / 1000);
        });
    });
    items.forEach((item) => {
        if (item[0] !== 'since') {
            addKey(apps, known, item[0], item[1]);
        }
    });
    return {since: since, apps: apps};
}

function workers() {
    const found = {active: 0, shutting_down: 0};
    fs.readdirSync('/proc').forEach((name) => {
        if (!/^[0-9]+$/.test(name) || !alive(name)) {
            return;
        }
        let line;
        try {
            line = fs.readFileSync(`/proc/${name}/cmdline`, 'utf8');
        } catch (error) {
            return;
        }
        if (line.startsWith('nginx: worker process is shutting down')) {
            found.shutting_down++;
        } else if (line.startsWith('nginx: worker process')) {
            found.active++;
        }
    });
    return found;
}

export default {CLASSES, collect, janitor, workers};
