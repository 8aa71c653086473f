// Keys that an app's clients present, checked here so that they can be rotated while the app keeps the one key that it knows.
// Imported by servers of apps with clients' keys and by the control server; no other request reads this file.
//
// Shared memory signalbox_keys (survives reloads, lost at a restart, then loaded from the file on tmpfs):
//   app -> "<current> <previous> <previous expires> <next> <blue's key> <green's key>\n<record as JSON>"
//   current, previous, next: SHA-256 of an accepted key in hex; what is not there is empty. Keys have no spaces.
import crypto from 'crypto';
import fs from 'fs';
import state from './state.js';

const DIRECTORY = '/run/signalbox/edge/keys/';
const ACCEPTED = ['current', 'previous', 'next'];
const HASH = /^[0-9a-f]{64}$/;
const SALT = /^[0-9a-f]{32}$/;
const KEY = /^[!-~]{1,1024}$/;
// In a request: the order of the first line.
const PREVIOUS_EXPIRES = 2;
const NEXT = 3;
const OWN = {blue: 4, green: 5};

// ---- the record ------------------------------------------------------------------------------------------------------

// No answer here repeats a value.
function problem(record, app) {
    if (record === null || typeof record !== 'object' || Array.isArray(record)) {
        return 'the record must be a JSON object';
    }
    if (record.app !== app) {
        return `app must be "${app}"`;
    }
    if (!state.whole(record.generation, 1, 9007199254740991)) {
        return 'generation must be a whole number from 1';
    }
    if (typeof record.salt !== 'string' || !SALT.test(record.salt)) {
        return 'salt must be 32 hexadecimal digits';
    }
    const accepted = record.accepted || {};
    for (let i = 0; i < ACCEPTED.length; i++) {
        const hash = accepted[ACCEPTED[i]];
        if (hash !== null && (typeof hash !== 'string' || !HASH.test(hash))) {
            return `accepted.${ACCEPTED[i]} must be a SHA-256 in hexadecimal digits, or null`;
        }
    }
    if (accepted.current === null) {
        return 'accepted.current must not be null';
    }
    if (!state.whole(record.previous_expires, accepted.previous === null ? 0 : 1,
                     accepted.previous === null ? 0 : 9007199254740)) {
        return 'previous_expires must be the epoch second at which the previous key expires, 0 when there is none';
    }
    const internal = record.internal || {};
    for (let i = 0; i < state.SLOTS.length; i++) {
        const key = internal[state.SLOTS[i]];
        if (key !== null && (typeof key !== 'string' || !KEY.test(key))) {
            return `internal.${state.SLOTS[i]} must be a key without spaces, or null`;
        }
    }
    if (typeof record.updated !== 'string' || record.updated.length > 64) {
        return 'updated must be a time';
    }
    return '';
}

function encode(record) {
    const accepted = record.accepted;
    const internal = record.internal;
    const head = [accepted.current, accepted.previous || '', record.previous_expires, accepted.next || '',
                  internal.blue || '', internal.green || ''];
    return head.join(' ') + '\n' + JSON.stringify({
        app: record.app,
        generation: record.generation,
        salt: record.salt,
        accepted: {current: accepted.current, previous: accepted.previous, next: accepted.next},
        previous_expires: record.previous_expires,
        internal: {blue: internal.blue, green: internal.green},
        updated: record.updated
    });
}

function decode(text) {
    return JSON.parse(text.slice(text.indexOf('\n') + 1));
}

// As state.load: from its file when memory has none, and never over what was set meanwhile.
function load(app) {
    const keys = ngx.shared.signalbox_keys;
    const text = keys.get(app);
    if (text !== undefined) {
        return text;
    }
    try {
        const record = JSON.parse(fs.readFileSync(DIRECTORY + app + '.json', 'utf8'));
        const wrong = problem(record, app);
        if (wrong) {
            ngx.log(ngx.ERR, `signalbox: the file of keys of ${app} is not valid: ${wrong}`);
            return undefined;
        }
        keys.add(app, encode(record));
    } catch (error) {
        // A parser's message may quote the file.
        if (error.code !== 'ENOENT') {
            ngx.log(ngx.ERR, `signalbox: the file of keys of ${app} cannot be read: ${error.code || 'not JSON'}`);
        }
        return undefined;
    }
    return keys.get(app);
}

// What may be shown of a record: a fingerprint in place of each value.
function view(text) {
    const record = decode(text);
    const fingerprints = {};
    const take = (name, value) => {
        fingerprints[name] = value === null ? null
            : crypto.createHash('sha256').update(record.salt + ':' + value).digest('hex').slice(0, 16);
    };
    ACCEPTED.forEach((name) => take(name, record.accepted[name]));
    state.SLOTS.forEach((slot) => take(slot, record.internal[slot]));
    return {app: record.app, generation: record.generation, salt: record.salt, previous_expires: record.previous_expires,
            fingerprints: fingerprints, updated: record.updated};
}

// Names of the keys that are accepted at this moment.
function accepted(shown) {
    return ACCEPTED.filter((name) => shown.fingerprints[name] !== null
        && (name !== 'previous' || Date.now() < shown.previous_expires * 1000));
}

// ---- a request -------------------------------------------------------------------------------------------------------

// Whether two SHA-256 are equal, in a time that does not depend on where they differ.
function same(seen, hex) {
    const wanted = Buffer.from(hex, 'hex');
    if (wanted.length !== 32) {
        return false;
    }
    let difference = 0;
    for (let i = 0; i < 32; i += 4) {
        difference |= seen.readInt32BE(i) ^ wanted.readInt32BE(i);
    }
    return difference === 0;
}

// Which of the accepted keys this is, '' when none; all of them are compared in any case.
function recognise(fields, key) {
    const seen = crypto.createHash('sha256').update(key).digest();
    const current = same(seen, fields[0]);
    const previous = same(seen, fields[1]);
    const next = same(seen, fields[NEXT]);
    if (current) {
        return 'current';
    }
    if (next) {
        return 'next';
    }
    return previous && Date.now() < Number(fields[PREVIOUS_EXPIRES]) * 1000 ? 'previous' : '';
}

function count(app, result) {
    try {
        ngx.shared.signalbox_counters.incr('k|' + app + '|' + result, 1, 0);
    } catch (error) {
        ngx.log(ngx.ERR, `signalbox: key not counted: ${error.message}`);
    }
}

// The path as the client wrote it is what the app will see, so that is what must be open: nothing is decoded or merged.
// A browser's preflight request carries no key by definition.
function open(r, variables) {
    const path = variables.request_uri.split('?', 1)[0];
    return variables.sb_open_paths.indexOf(' ' + path + ' ') >= 0
        || (r.method === 'OPTIONS' && r.headersIn['Access-Control-Request-Method'] !== undefined);
}

// js_set of $sb_client_check, read once per request by "set $sb_client $sb_client_check": whose key it is, '' for 401.
function check(r) {
    const variables = r.variables;
    const app = variables.sb_app;
    const key = variables.sb_client_key;
    if (variables.sb_preview) {
        // The socket admits operators only: a request that carries the header, whatever is in it, gets the slot's key.
        return key ? 'preview' : 'open';
    }
    const text = load(app);
    const who = key && text !== undefined ? recognise(text.slice(0, text.indexOf('\n')).split(' '), key) : '';
    if (who) {
        count(app, 'accepted_' + who);
        return who;
    }
    if (open(r, variables)) {
        return 'open';
    }
    if (text === undefined) {
        // Not the client's fault, so not a 401, upon which clients throw their keys away.
        variables.sb_refusal = 'no_keys';
        return 'unknown';
    }
    variables.sb_refusal = 'unauthorized';
    count(app, 'refused');
    return '';
}

// js_set of $sb_slot_key, after the slot was chosen: the key that the app takes in that slot, '' for a request without a key.
function ofSlot(r) {
    const variables = r.variables;
    if (variables.sb_client === 'open' || !variables.sb_slot) {
        return '';
    }
    const text = load(variables.sb_app);
    const key = text === undefined ? '' : text.slice(0, text.indexOf('\n')).split(' ')[OWN[variables.sb_slot]];
    if (!key) {
        variables.sb_refusal = 'no_keys';
    }
    return key;
}

export default {problem, encode, decode, load, view, accepted, check, ofSlot};
