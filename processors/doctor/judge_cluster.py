"""What is found about the API server and what is in it, judged.

Pure: values in, lines out. Must not: ask anybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from peaktime.core.profiles import Profiles
from processors.doctor.lines import Line, named, ok, warning, wrong

#: What the worker asks of Argo's kinds: resource → verbs. ``k8s/rbac.yaml`` gives just that.
RIGHTS: Mapping[str, tuple[str, ...]] = {
    "cronworkflows": ("get", "list", "watch", "create", "patch", "delete"),
    "workflows": ("get", "list", "watch", "create"),
    "workflowtemplates": ("get", "list", "watch"),
    "cronworkflows/finalizers": ("update",),
}
#: Asked for only where the admission plugin OwnerReferencesPermissionEnforcement is on.
_SELDOM = frozenset({"cronworkflows/finalizers"})
KINDS = ("cronworkflows", "workflows", "workflowtemplates")
FURTHEST_CLOCK = timedelta(seconds=5)
#: HTTP's ``Date`` is cut to a second.
_HALF = timedelta(seconds=0.5)

Right = tuple[str, str]  # verb, resource
Named = Mapping[tuple[str, str], Sequence[str]]  # namespace, name → the profiles that name it


@dataclass(frozen=True, slots=True)
class Template:
    """A step that profiles name: a template within a WorkflowTemplate of a namespace."""

    namespace: str
    workflow_template: str
    template: str


def namespaces_of(profiles: Profiles | None, default: str) -> list[str]:
    """Every namespace that objects go to."""
    stated = {p.namespace for p in profiles.by_name.values() if p.namespace} if profiles is not None else set()
    return sorted({default, *stated})


def templates_of(profiles: Profiles, default: str) -> dict[Template, list[str]]:
    """The steps that profiles name, and who names each."""
    found: dict[Template, list[str]] = {}
    for profile in profiles.by_name.values():
        steps = (s for way in (profile.scale_out, profile.scale_in) for stage in way.stages for s in stage)
        for key in {Template(profile.namespace or default, s.workflow_template, s.template) for s in steps}:
            found.setdefault(key, []).append(profile.name)
    return found


def accounts_of(profiles: Profiles, default: str) -> dict[tuple[str, str], list[str]]:
    """The service accounts that profiles name, by namespace and name, and who names each."""
    found: dict[tuple[str, str], list[str]] = {}
    for profile in profiles.by_name.values():
        if profile.service_account:
            found.setdefault((profile.namespace or default, profile.service_account), []).append(profile.name)
    return found


def kinds_lines(version: str, served: Sequence[str]) -> list[Line]:
    """Argo's kinds.

    Args:
        version: the API version that was asked for.
        served: the resources that the API server serves in it.
    """
    remedy = "Install Argo Workflows 4, whose definitions they are"
    missing = [kind for kind in KINDS if kind not in served]
    if missing:
        return [wrong(f"kind {kind}", f"the API server serves none in {version}", remedy) for kind in missing]
    return [ok("Argo's kinds", f"{', '.join(KINDS)} are served in {version}")]


def rights_line(who: str, namespace: str, denied: Sequence[Right], *, there: bool | None) -> Line:
    """What this identity may do in a namespace.

    Args:
        who: the identity.
        namespace: where.
        denied: those of ``RIGHTS`` that it does not have, as verb and resource.
        there: whether the namespace is there; None if it may not look.
    """
    about = f"namespace {namespace}"
    if there is False:
        return wrong(about, "is not there", "Create it, or correct PEAKTIME_NAMESPACE or the profile that names it")
    if not denied:
        return ok(about, f"{who} may do all that a worker does")
    by_resource: dict[str, list[str]] = {}
    for verb, resource in denied:
        by_resource.setdefault(resource, []).append(verb)
    may_not = "; ".join(f"{', '.join(verbs)} {resource}" for resource, verbs in by_resource.items())
    if set(by_resource) <= _SELDOM:
        remedy = "Give it only if OwnerReferencesPermissionEnforcement is on (OpenShift): k8s/rbac.yaml"
        return warning(about, f"{who} may not {may_not}", remedy)
    remedy = (
        "Apply the Role of k8s/rbac.yaml there; if this is not the worker's identity, run doctor in the worker's pod: "
        "`kubectl exec deploy/peaktime-worker -- peaktime doctor`"
    )
    return wrong(about, f"{who} may not {may_not}", remedy)


def templates_lines(wanted: Mapping[Template, Sequence[str]], held: Mapping[tuple[str, str], object]) -> list[Line]:
    """The WorkflowTemplates that profiles name.

    Args:
        wanted: the steps, and who names each.
        held: by namespace and name: the names of its templates; None if it is not there; a text saying why it could
            not be looked at.
    """
    lines = []
    for place in sorted({(key.namespace, key.workflow_template) for key in wanted}):
        keys = sorted((k for k in wanted if (k.namespace, k.workflow_template) == place), key=lambda k: k.template)
        about = f"WorkflowTemplate {place[0]}/{place[1]}"
        users = named(sorted({name for key in keys for name in wanted[key]}))
        templates = held.get(place)
        if templates is None:
            lines.append(
                wrong(about, f"is not there, but profiles name it ({users})", "Create it, or correct the file")
            )
        elif isinstance(templates, str):
            remedy = "Look at it with kubectl, or run doctor as the worker"
            lines.append(warning(about, f"not checked: {templates}", remedy))
        elif isinstance(templates, frozenset):
            for key in keys:
                if key.template not in templates:
                    has = named(sorted(templates)) or "none"
                    said = f"has no template {key.template}, but profiles name it ({users}); it has {has}"
                    lines.append(wrong(about, said, "Add it, or correct the file"))
    profiles = {name for names in wanted.values() for name in names}
    return lines or [
        ok("WorkflowTemplates", f"the {len(wanted)} templates that {len(profiles)} profiles name are there")
    ]


def accounts_lines(wanted: Named, statuses: Mapping[tuple[str, str], int]) -> list[Line]:
    """The service accounts that profiles name.

    Args:
        wanted: by namespace and name, and who names each.
        statuses: HTTP status of a look at each.
    """
    lines = []
    unseen = []
    for (namespace, name), users in sorted(wanted.items()):
        status = statuses.get((namespace, name), 0)
        if status == 404:  # noqa: PLR2004  (HTTP: not found)
            about = f"service account {namespace}/{name}"
            said = f"is not there, but profiles name it ({named(users)})"
            lines.append(wrong(about, said, "Create it, or correct the file"))
        elif status != 200:  # noqa: PLR2004  (HTTP: ok)
            unseen.append(f"{namespace}/{name}")
    if unseen:
        said = f"{named(unseen)}: not shown to this identity"
        lines.append(warning("service accounts", said, "Look yourself: `kubectl get serviceaccount --namespace …`"))
    if lines:
        return lines
    if not wanted:
        return [ok("service accounts", "profiles name none: runs are each namespace's default one")]
    return [ok("service accounts", f"the {len(wanted)} that profiles name are there")]


def clock_line(whose: str, here: datetime, there: datetime | None) -> Line:
    """This machine's clock against another's.

    Args:
        whose: the other machine.
        here: this machine's time while it was asked (UTC).
        there: what it said, cut to a second (UTC); None if it said nothing.
    """
    about = f"clock of {whose}"
    if there is None:
        return warning(about, "it does not tell its time", "Compare the clocks by hand")
    apart = there + _HALF - here
    if abs(apart) <= FURTHEST_CLOCK:
        return ok(about, f"agrees with this machine's within {max(1, round(abs(apart).total_seconds()))} s")
    said = f"is {abs(apart).total_seconds():.0f} s {'ahead of' if apart > timedelta() else 'behind'} this machine's"
    return warning(about, said, "Set both by NTP: an event is started when the clock of Argo's controller says so")
