"""How much memory a process and all that it started hold."""

from pathlib import Path

__all__ = ["resident_mib"]


def resident_mib(root: int) -> dict[str, float]:
    """Return the memory of process *root* and its descendants, in MiB.

    ``resident`` adds up what each maps (PostgreSQL's shared buffers once for every process);
    ``proportional`` counts a shared page once in all (PSS). Both are 0 where /proc has no answer.
    """
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:  # it ended while we looked
            continue
        children.setdefault(int(fields[1]), []).append(int(status.parent.name))
    pending, total = [root], {"resident": 0, "proportional": 0}
    while pending:
        pid = pending.pop()
        pending += children.get(pid, [])
        for name, kib in _rollup(pid).items():
            total[name] += kib
    return {name: round(kib / 1024, 1) for name, kib in total.items()}


def _rollup(pid: int) -> dict[str, int]:
    names = {"Rss:": "resident", "Pss:": "proportional"}
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return {}
    words = (line.split() for line in lines)
    return {names[w[0]]: int(w[1]) for w in words if w and w[0] in names}
