# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    """Options of modules that bring an image onto the host."""

    DOCUMENTATION = r"""
options:
  registry:
    description: Account at the registry; without it the pull is anonymous.
    type: dict
    suboptions:
      address:
        description: Host and port of the registry.
        type: str
        required: true
      username:
        description: User.
        type: str
        required: true
      password:
        description: Password.
        type: str
        required: true
  minimum_free_bytes:
    description: Room that must be free where images lie before one is pulled.
    type: int
    default: 1073741824
  image_download_bytes:
    description: Size of the download as RV(signalbox.platform.image_info#module:size_bytes) gives it; four times
      that must be free.
    type: int
    default: 0
  pull_attempts:
    description: Attempts to pull, with growing and jittered pauses.
    type: int
    default: 4
  engine_socket:
    description: Socket of the container engine.
    type: path
    default: /run/docker.sock
"""
