# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    """Options of modules that run an app's image: its environment, limits and mounts."""

    DOCUMENTATION = r"""
options:
  environment:
    description: Environment of the container. Values are text; YAML booleans become V(true) and V(false).
    type: dict
    default: {}
  secret_sources:
    description:
      - Where in Vault the host reads secrets, name to source as the filter P(signalbox.platform.secret_sources#filter)
        gives it. Values of O(environment) may hold C(${signalbox:NAME}), and C(${signalbox:url:NAME}) inside a URL; the
        host fetches the values with its own identity right before it needs them and fills them in.
      - A fetched value is never part of the module's answer or of a difference.
    type: dict
    default: {}
  resources:
    description: Limits of the container.
    type: dict
    default: {}
    suboptions:
      cpus:
        description: Processors, as a fraction; 0 is no limit.
        type: float
        default: 1.0
      memory:
        description: Memory such as V(512m) or V(1g), without swap on top; empty is no limit.
        type: str
        default: 512m
      pids:
        description: Processes and threads; 0 is no limit.
        type: int
        default: 512
  mounts:
    description: Files or directories of the host, mounted read-only.
    type: list
    elements: dict
    default: []
    suboptions:
      source:
        description: Path on the host. It must exist.
        type: path
        required: true
      target:
        description: Path in the container.
        type: str
        required: true
  temporary:
    description: Directories in the container that are writable, as tmpfs.
    type: list
    elements: str
    default: [/tmp]
  read_only:
    description: Whether the root file system of the container is read-only.
    type: bool
    default: true
  user:
    description: User the container runs as instead of the image's own, C(uid[:gid]).
    type: str
    default: ""
"""
