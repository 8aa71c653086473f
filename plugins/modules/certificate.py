#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate
short_description: Certificates of a host from the platform's own authority
version_added: "0.1.0"
description:
  - O(operation=request) looks at the host's certificates, makes missing keys and returns signing requests for those
    that need a certificate. Keys never leave their host.
  - O(operation=sign), on the authority's host, signs them; the authority is made on first use.
  - O(operation=sign_intermediate), on the authority's host, signs authorities that sign for hosts, such as Vault's
    (M(signalbox.platform.vault_pki)), instead of certificates.
  - O(operation=install) writes what was signed, then reloads the units that use it.
  - O(operation=given) writes certificates that the operator brought.
  - O(operation=remove) removes the certificates and keys of the names in O(requests).
  - O(operation=look) tells how long each certificate in O(directory) lives.
options:
  operation:
    description: Step to take.
    type: str
    required: true
    choices: [request, sign, sign_intermediate, install, given, remove, look]
  requests:
    description: The host's certificates; the same list for each operation.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the files, without suffix.
        type: str
        required: true
      dns:
        description: DNS names; a wildcard may stand for the first label.
        type: list
        elements: str
        default: []
      addresses:
        description: IP addresses.
        type: list
        elements: str
        default: []
      owner:
        description: Owner of the key.
        type: str
        default: root
      group:
        description: Group of the key.
        type: str
        default: root
      key_mode:
        description: Mode of the key as quoted octal text; the group may be let read it, others may not.
        type: str
        default: "0600"
      reload:
        description: Units to reload when the certificate changed, with C(systemctl try-reload-or-restart).
        type: list
        elements: str
        default: []
      placeholder:
        description:
          - Makes a first certificate only, for a service that obtains its own. One that belongs to its key stays,
            whoever signed it, whatever it names and whenever it ends.
        type: bool
        default: false
      certificate:
        description: O(operation=given); certificate and chain in PEM.
        type: str
      private_key:
        description: O(operation=given); its key in PEM.
        type: str
  directory:
    description: Where a host's certificates are kept.
    type: path
    default: /etc/signalbox/tls
  renew_fraction:
    description: A certificate is renewed when less than this part of its life is left.
    type: float
    default: 0.3333
  authority_certificate:
    description: O(operation=request); the authority expected, in PEM. Certificates of another one are renewed.
    type: str
    default: ""
  host:
    description: O(operation=sign); the host that asks, for the authority's record.
    type: str
    default: ""
  signing_requests:
    description:
      - O(operation=sign); name to signing request, as O(operation=request) returned them.
      - O(operation=sign_intermediate); name to signing request of each authority. All are signed.
    type: dict
    default: {}
  renew:
    description: O(operation=sign); names to sign. When O(known_authority) is not this authority's, all are signed.
    type: list
    elements: str
    default: []
  known_authority:
    description: O(operation=sign); the authority's certificate that the host has, as O(operation=request) returned it.
    type: str
    default: ""
  validity_days:
    description: O(operation=sign); life of a certificate.
    type: int
    default: 90
  intermediate_days:
    description: O(operation=sign_intermediate); life of an authority that is signed.
    type: int
    default: 1095
  authority_directory:
    description: O(operation=sign); where the authority's key, certificate and record are kept.
    type: path
    default: /var/lib/signalbox/ca
  authority_name:
    description: O(operation=sign); common name of an authority that is made.
    type: str
    default: Signalbox platform CA
  authority_days:
    description: O(operation=sign); life of an authority that is made.
    type: int
    default: 3650
  certificates:
    description: O(operation=install); name to certificate with chain, as O(operation=sign) returned them.
    type: dict
    default: {}
  authority:
    description: O(operation=install); the authority's certificate, as O(operation=sign) returned it.
    type: str
    default: ""
requirements:
  - cryptography 42 or newer on the host
attributes:
  check_mode:
    support: full
    description: Tells which certificates would be renewed; makes no key, signs nothing.
  diff_mode:
    support: full
    description: Names and reasons, never a key.
author: Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Look at the certificates
  signalbox.platform.certificate:
    operation: request
    requests: [{name: postgresql, dns: [db1.example.com], addresses: [10.0.0.5]}]
  register: asked

- name: Sign what is needed
  signalbox.platform.certificate:
    operation: sign
    host: "{{ inventory_hostname }}"
    requests: [{name: postgresql, dns: [db1.example.com], addresses: [10.0.0.5]}]
    signing_requests: "{{ asked.signing_requests }}"
    renew: "{{ asked.reasons.keys() | list }}"
    known_authority: "{{ asked.authority }}"
  delegate_to: ca1
  when: asked.needed
"""

RETURN = r"""
needed:
  description: Whether a certificate, or the authority's own, has to be fetched.
  returned: operation request
  type: bool
reasons:
  description: Name to why a new certificate is needed.
  returned: operation request
  type: dict
signing_requests:
  description: Name to signing request; empty in check mode.
  returned: operation request
  type: dict
certificates:
  description: Name to certificate with chain.
  returned: operations sign and sign_intermediate
  type: dict
authority:
  description: The authority's certificate; with operation request the one that the host has, which may be empty.
  returned: operations request, sign and sign_intermediate
  type: str
changed_names:
  description: Names whose certificate is another one than before, or gone.
  returned: operations install, given and remove
  type: list
  elements: str
lives:
  description: One entry for each certificate of the host, with its times; without them where it cannot be read.
  returned: operation look
  type: list
  elements: dict
  sample: [{name: redis, not_before: "2026-11-20T10:00:00+00:00", not_after: "2027-02-18T10:00:00+00:00"}]
authority_changed:
  description: Whether the authority's certificate is another one than before.
  returned: operation install
  type: bool
"""

import glob
import os

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.signalbox.platform.plugins.module_utils import _certificate_files as files
from ansible_collections.signalbox.platform.plugins.module_utils._certificate import (
    RESERVED,
    CertificateError,
    parse_requests,
    reason_to_renew,
)
from ansible_collections.signalbox.platform.plugins.module_utils._certificate_authority import Authority

REQUEST_SPEC = {
    "name": {"type": "str", "required": True},
    "dns": {"type": "list", "elements": "str", "default": []},
    "addresses": {"type": "list", "elements": "str", "default": []},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "key_mode": {"type": "str", "default": "0600", "no_log": False},
    "reload": {"type": "list", "elements": "str", "default": []},
    "placeholder": {"type": "bool", "default": False},
    "certificate": {"type": "str"},
    "private_key": {"type": "str", "no_log": True},
}
CHOICES = ["request", "sign", "sign_intermediate", "install", "given", "remove", "look"]
ARGUMENTS = {
    "operation": {"type": "str", "required": True, "choices": CHOICES},
    "requests": {"type": "list", "elements": "dict", "default": [], "options": REQUEST_SPEC},
    "directory": {"type": "path", "default": "/etc/signalbox/tls"},
    "renew_fraction": {"type": "float", "default": 0.3333},
    "authority_certificate": {"type": "str", "default": ""},
    "host": {"type": "str", "default": ""},
    "signing_requests": {"type": "dict", "default": {}},
    "renew": {"type": "list", "elements": "str", "default": []},
    "known_authority": {"type": "str", "default": ""},
    "validity_days": {"type": "int", "default": 90},
    "intermediate_days": {"type": "int", "default": 1095},
    "authority_directory": {"type": "path", "default": "/var/lib/signalbox/ca"},
    "authority_name": {"type": "str", "default": "Signalbox platform CA"},
    "authority_days": {"type": "int", "default": 3650},
    "certificates": {"type": "dict", "default": {}},
    "authority": {"type": "str", "default": ""},
}


def request(module, requests):
    """Asks for all when any is needed: only the authority's host knows whether the authority is another one."""
    store = files.Store(module.params["directory"], module.check_mode)
    store.prepare()
    now, reasons = files.utc_now(), {}
    for item in requests:
        reason = reason_to_renew(item, store.held(item), now, module.params["renew_fraction"])
        if reason:
            reasons[item.name] = reason
    authority = files.read(store.authority_path).decode("utf-8", "replace")
    expected = module.params["authority_certificate"].strip()
    needed = bool(reasons) or not store.authority() or bool(expected and expected != authority.strip())
    settled = [item.name for item in requests if store.settle(item)]
    asking = [item for item in requests if needed and not (item.placeholder and item.name not in reasons)]
    keyless = [item.name for item in asking if not store.has_key(item)]
    made = {item.name: store.signing_request(item) for item in asking if not module.check_mode}
    changed = bool(settled or keyless) or (needed and module.check_mode)
    lines = [f"{name}: {reason}\n" for name, reason in reasons.items()] + [
        f"{name}: owner or mode\n" for name in settled
    ]
    result = {
        "changed": changed,
        "needed": needed,
        "reasons": reasons,
        "authority": authority,
        "signing_requests": made,
    }
    return dict(result, diff={"prepared": "".join(lines)}) if module._diff and lines else result


def sign(module, requests):
    if module.check_mode:
        return {"changed": False, "certificates": {}, "authority": ""}
    params, now = module.params, files.utc_now()
    authority = authority_of(params)
    signed = {}
    with authority.opened(now):
        for item in requests:
            pem = params["signing_requests"].get(item.name)
            if pem and (item.name in params["renew"] or params["known_authority"] != authority.pem):
                signed[item.name] = authority.sign(item, pem, params["host"], params["validity_days"], now)
    return {"changed": bool(signed) or authority.created, "certificates": signed, "authority": authority.pem}


def sign_intermediate(module, _requests):
    if module.check_mode:
        return {"changed": False, "certificates": {}, "authority": ""}
    params, now = module.params, files.utc_now()
    authority = authority_of(params)
    with authority.opened(now):
        signed = {
            name: authority.sign_intermediate(name, pem, params["host"], params["intermediate_days"], now)
            for name, pem in sorted(params["signing_requests"].items())
        }
    return {"changed": bool(signed) or authority.created, "certificates": signed, "authority": authority.pem}


def authority_of(params):
    return Authority(params["authority_directory"], params["authority_name"], params["authority_days"])


def install(module, requests):
    if module.check_mode:
        return {"changed": False, "changed_names": [], "authority_changed": False}
    store, params = files.Store(module.params["directory"], False), module.params
    authority_changed = store.install_authority(params["authority"]) if params["authority"] else False
    wanted = [item for item in requests if item.name in params["certificates"]]
    changed = [item for item in wanted if store.install(item, params["certificates"][item.name])]
    reload_units(module, changed)
    names = [item.name for item in changed]
    return {"changed": bool(names) or authority_changed, "changed_names": names, "authority_changed": authority_changed}


def given(module, requests):
    store = files.Store(module.params["directory"], module.check_mode)
    store.prepare()
    now = files.utc_now()
    changed = [item for item in requests if store.install_given(item, now)]
    settled = [item.name for item in requests if store.settle(item)]
    if not module.check_mode:
        reload_units(module, changed)
    return {"changed": bool(changed or settled), "changed_names": [item.name for item in changed]}


def remove(module, requests):
    store = files.Store(module.params["directory"], module.check_mode)
    changed = [item.name for item in requests if store.remove(item)]
    return {"changed": bool(changed), "changed_names": changed}


def look(module, _requests):
    lives = []
    for path in sorted(glob.glob(os.path.join(module.params["directory"], "*.crt"))):
        name = os.path.basename(path)[: -len(".crt")]
        if name in RESERVED:
            continue
        try:
            held = files.load_certificates(files.read(path), path)[0]
            times = {
                "not_before": held.not_valid_before_utc.isoformat(),
                "not_after": held.not_valid_after_utc.isoformat(),
            }
        except CertificateError:
            times = {}
        lives.append({"name": name, **times})
    return {"changed": False, "lives": lives}


def reload_units(module, changed):
    """A unit that is not running, or not there yet, is passed over."""
    for unit in sorted({unit for item in changed for unit in item.reload}):
        if module.run_command(["systemctl", "--quiet", "is-active", unit])[0] != 0:
            continue
        code, out, err = module.run_command(["systemctl", "try-reload-or-restart", unit])
        if code != 0:
            module.fail_json(
                msg=f"the certificates were written, but {unit} did not reload: {err or out}"
                f" Reload it by hand: a further run finds nothing changed.",
            )


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    operations = dict(zip(CHOICES, (request, sign, sign_intermediate, install, given, remove, look)))
    operation = operations[module.params["operation"]]
    try:
        requests = parse_requests(module.params["requests"])
        if files.LIBRARY_ERROR and module.check_mode:  # before the role's package is there
            names = [item.name for item in requests]
            reasons = dict.fromkeys(names, "there is none")
            module.exit_json(changed=True, needed=True, reasons=reasons, authority="", changed_names=names)
        if files.LIBRARY_ERROR:
            module.fail_json(msg=missing_required_lib("cryptography"), exception=files.LIBRARY_ERROR)
        result = operation(module, requests)
    except (CertificateError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
