#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: image_info
short_description: Resolve an image's tag to its digest at the registry
version_added: "0.1.0"
author: Signalbox contributors (@signalbox)
description:
  - Asks the registry's HTTP API (version 2) what a tag points at, without pulling anything. Needs no container engine.
  - Logs in with HTTP basic authentication or the registry's token service, whichever it asks for.
  - Of an image for several platforms, the one for C(linux) on O(architecture) is described; it must exist.
options:
  image:
    description: The image, C(repository:tag) or C(repository@sha256:...).
    type: str
    required: true
  username:
    description: User at the registry; anonymous when not given.
    type: str
    default: ""
  password:
    description: Password at the registry.
    type: str
    default: ""
  ca_file:
    description: Certificates to trust in place of the system's, PEM.
    type: path
  architecture:
    description: Architecture by the registry's name, such as V(amd64) or V(arm64); that of the host when not given.
    type: str
    default: ""
  timeout_seconds:
    description: Time limit of one request.
    type: float
    default: 10
attributes:
  check_mode:
    support: full
    description: Changes nothing, in check mode or out of it.
  diff_mode:
    support: none
    description: Changes nothing.
seealso:
  - module: signalbox.platform.slot
"""

EXAMPLES = r"""
- name: Resolve the release's image
  signalbox.platform.image_info:
    image: registry.example.com:5000/agent-api:1.4.0
    username: deploy
    password: "{{ registry_password }}"
    ca_file: /etc/signalbox/tls/ca.crt
  register: image
"""

RETURN = r"""
digest:
  description: What the tag points at (the index, for an image for several platforms). Deploy by this.
  type: str
  returned: success
  sample: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
pinned:
  description: The image by digest.
  type: str
  returned: success
platform_digest:
  description: Digest of the manifest for this platform; that of the tag when there is one platform only.
  type: str
  returned: success
size_bytes:
  description: Size of its layers as they are downloaded.
  type: int
  returned: success
labels:
  description: Labels of the image.
  type: dict
  returned: success
created:
  description: When it was built, as the image says.
  type: str
  returned: success
architecture:
  description: Architecture it is built for.
  type: str
  returned: success
kind:
  description: Why there is no answer, V(not_found), V(refused), V(unreachable), V(tls), V(platform), V(answer) or
    V(reference).
  type: str
  returned: failure
close_tags:
  description: Tags that may have been meant.
  type: list
  elements: str
  returned: failure
"""

import platform

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.signalbox.platform.plugins.module_utils._image_reference import (
    InvalidReference,
    architecture_of,
    parse,
)
from ansible_collections.signalbox.platform.plugins.module_utils._registry_client import RegistryClient, RegistryError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "image": {"type": "str", "required": True},
            "username": {"type": "str", "default": ""},
            "password": {"type": "str", "default": "", "no_log": True},
            "ca_file": {"type": "path"},
            "architecture": {"type": "str", "default": ""},
            "timeout_seconds": {"type": "float", "default": 10},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        reference = parse(given["image"])
        client = RegistryClient(
            reference, given["username"], given["password"], given["ca_file"] or "", given["timeout_seconds"]
        )
        image = client.image(given["architecture"] or architecture_of(platform.machine()))
    except InvalidReference as error:
        module.fail_json(msg=str(error), kind="reference", close_tags=[])
    except RegistryError as error:
        module.fail_json(msg=str(error), kind=error.kind, close_tags=error.tags)
    module.exit_json(
        changed=False,
        pinned=reference.pinned(image.digest),
        digest=image.digest,
        platform_digest=image.platform_digest,
        size_bytes=image.size_bytes,
        labels=dict(image.labels),
        created=image.created,
        architecture=image.architecture,
    )


if __name__ == "__main__":
    main()
