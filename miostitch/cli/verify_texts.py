"""What people read of a verification."""

from typing import Any

from miostitch.text import amount


def verify_text(found: dict[str, Any]) -> str:
    """What was found, result by result."""
    results = found["results"]
    gap = "\n\n" if any(each["findings"] for each in results) else "\n"
    return gap.join(map(_result_text, results))


def _result_text(result: dict[str, Any]) -> str:
    lines = []
    counted: dict[str, int] = {}
    for finding in result["findings"]:
        kind = finding["kind"]
        if kind not in counted:
            lines.append(f"{kind}: {result['counts'][kind]}")
        counted[kind] = counted.get(kind, 0) + 1
        lines.append(f"  - {_finding_text(finding)}")
    for kind, count in counted.items():
        if result["counts"][kind] > count:
            lines.append(f"{kind}: {result['counts'][kind] - count} more not listed")
    frames = f"{result['stem']}: {amount(result['frames'], 'frame')}"
    count = result["differences"]
    verdict = amount(count, "difference") if count else "no difference"
    if result["not_checked"]:
        verdict += f", {amount(result['not_checked'], 'part')} not checked"
    return "\n".join([*lines, f"{frames}, {verdict}"])


def _finding_text(finding: dict[str, Any]) -> str:
    names = ("chunk", "frame", "row", "column")
    places = [f"{name} {finding[name]}" for name in names if name in finding]
    return ": ".join(
        [finding["file"], *([", ".join(places)] if places else []), finding["message"]]
    )
