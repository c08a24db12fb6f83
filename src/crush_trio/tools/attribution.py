"""How commits and pull requests name the agent (agent contract 2.4, 3.8). Pure."""

from __future__ import annotations

from crush_trio.wire.config import Attribution


def attribution_rules(attribution: Attribution | None, model_id: str) -> str:
    """Return what a model is told to write under its commits; the lines are Crush's own."""
    style = _style(attribution)
    lines: list[str] = []
    if attribution is None or attribution.generated_with:
        lines.append("💘 Generated with Crush")
    if style == "assisted-by":
        lines.append(f"Assisted-by: Crush:{model_id}")
    if style == "co-authored-by":
        lines.append("Co-Authored-By: Crush <crush@charm.land>")
    if not lines:
        return "Add no line about yourself or about tools to commit messages and pull requests."
    return "\n".join(
        ("End each commit message and pull request text with:", "", *(f"    {x}" for x in lines))
    )


def _style(attribution: Attribution | None) -> str:
    """Return the trailer style; ``co_authored_by`` is its older form."""
    if attribution is None:
        return "assisted-by"
    if attribution.trailer_style:
        return attribution.trailer_style
    older = {True: "co-authored-by", False: "none", None: "assisted-by"}
    return older[attribution.co_authored_by]
