"""The words that all prompts share, and the heads (the words before a history).

A prompt with a history is head + history + tail (docs/method.md, stage two). Each task has its own tails. All tasks
share the heads, so every head must read well with every tail. The first head and the first tail of the sequential task
are the wording that the paper prints under "Inference", and search uses this wording. The second head, and the second
wording of each task, are examples from the paper.
"""

from __future__ import annotations

import re
from typing import Final

WRAPPER_BEFORE: Final = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n### Instruction:\n"
)
WRAPPER_AFTER: Final = "\n\n### Response:"
SEPARATOR: Final = ", "
_TAG: Final = re.compile(
    r"<([^\s<>]+)>"
)  # a code token, an end token, or any other token that a tokenizer writes as a tag

HISTORY_HEADS: Final = (
    "The user has interacted with ",
    "Here is the item interaction history of the user: ",
    "In the order of time, a user chose ",
    "A customer of our shop took these items one after the other: ",
    "This is what somebody bought so far: ",
    "From the oldest to the latest, the user's items are ",
    "Read this list of items that one person picked: ",
    "The purchases of a shopper, in their order, were ",
    "Consider a person who has gone through ",
    "Somebody's past choices are ",
)


def opening(text: str) -> str:
    """Return the beginning of a prompt: the instruction that opens every prompt, then ``text``."""
    return WRAPPER_BEFORE + text


def closing(text: str) -> str:
    """Return the end of a prompt, which is ``text`` and then the words that close every prompt."""
    return text + WRAPPER_AFTER


def clean(text: str) -> str:
    """Remove the angle brackets around everything that looks like a tag or special token, and spaces at both ends."""
    while (bare := _TAG.sub(r"\1", text)) != text:  # nested brackets: removing the inner pair makes a new tag
        text = bare
    return text.strip()
