"""Questions of a run, and what somebody at a terminal types in answer. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from crush_trio.wire.questions import QuestionItem, QuestionResponse

HINTS = {
    "yes_no": "[y]es or [n]o",
    "single_choice": "a number, or an answer of your own",
    "multi_choice": "one or more numbers, or an answer of your own",
    "free_text": "your answer",
}
"""What can be typed, by the type of question."""

YES_NO = {"y": True, "yes": True, "n": False, "no": False}


def lines_of(item: QuestionItem) -> Iterator[str]:
    """Yield what is shown of a question."""
    yield f"\n{item.label}: {item.question}" if item.label else f"\n{item.question}"
    if item.description:
        yield item.description
    for number, choice in enumerate(item.choices, 1):
        about = f" - {choice.description}" if choice.description else ""
        yield f"  {number}. {choice.label}{about}"
    yield f"({HINTS[item.type]}; Enter skips)"


def response_to(item: QuestionItem, typed: str) -> QuestionResponse | None:
    """Return what was answered, or None if it makes no sense as an answer."""
    text = typed.strip()
    if not text:
        return QuestionResponse(item.id)
    match item.type:
        case "yes_no":
            answer = YES_NO.get(text.lower())
            return None if answer is None else QuestionResponse(item.id, yes=answer)
        case "free_text":
            return QuestionResponse(item.id, fill_in_text=text)
        case _:
            return _chosen(item, text)


def _chosen(item: QuestionItem, text: str) -> QuestionResponse | None:
    words = text.replace(",", " ").split()
    if not all(word.isdecimal() for word in words):
        return QuestionResponse(item.id, fill_in_text=text)
    numbers = [int(word) for word in words]
    if not all(1 <= number <= len(item.choices) for number in numbers):
        return None
    if item.type == "single_choice" and len(numbers) > 1:
        return None
    return QuestionResponse(item.id, tuple(item.choices[number - 1].id for number in numbers))
