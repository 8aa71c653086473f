# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The filter app_spec: signalbox_apps as written, to checked and complete specs."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.signalbox.platform.plugins.module_utils._app_spec import ROOT, SpecError, normalise_apps
from ansible_collections.signalbox.platform.plugins.module_utils._spec_expressions import default_compiler
from ansible_collections.signalbox.platform.plugins.plugin_utils._origin import with_origins


def app_spec(specs: object, name: str = ROOT) -> dict[str, dict[str, Any]]:
    """All specs, complete and plain; raises one error with every mistake."""
    try:
        return normalise_apps(specs, default_compiler(), name)
    except SpecError as error:
        problems = with_origins(error.problems, specs, name)
        raise AnsibleFilterError(str(SpecError(problems, name))) from None


class FilterModule:
    """Filters over app specs."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"app_spec": app_spec}
