"""How prompts are worded: pools of heads and tails for the four tasks.

A wording is head + history + tail (method: Alignment tasks). Heads are shared by the sequential and
the negative task, so any head must read well with any tail. The first of each pool is special: head
0 with sequential tail 0 is the wording that the paper prints under "Inference" and that search uses;
the second of each pool is the paper's example of the task.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WRAPPER_BEFORE: Final = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n### Instruction:\n"
)
WRAPPER_AFTER: Final = "\n\n### Response:"
SEPARATOR: Final = ", "

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

SEQUENTIAL_TAILS: Final = (
    " in chronological order. Can you predict the next possible item that the user may expect?",
    ", what to recommend to the user next?",
    ". Which item comes next?",
    ". Name the item that follows.",
    ". What will be chosen after these?",
    ". Give the item that fits best as the next one.",
    ". What should be offered now?",
    ". Continue the list by one item.",
    ". Which item is this person about to take?",
    ". Tell me the next item.",
)

NEGATIVE_TAILS: Final = (
    ". Which item is of no interest to this person?",
    ", what will user hate next?",
    ". Name an item that will not be chosen.",
    ". What should not be offered now?",
    ". Which item would be a mistake to recommend?",
    ". Give an item that does not fit here.",
    ". What will this person dislike?",
    ". Tell me an item to keep away from this user.",
    ". Which item is going to be turned down?",
    ". Pick something that this shopper does not want.",
)


@dataclass(frozen=True)
class TextWording:
    """Around a title and a description; ``alone`` closes where there is no description."""

    before: str
    between: str
    after: str
    alone: str


TEXT_WORDINGS: Final = (
    TextWording(
        "Which item is named ", " and has the description ", "? Answer with the item.", "? Answer with the item."
    ),
    TextWording(
        "An item is called ",
        " and described as ",
        ", can you tell me which item it is?",
        ", can you tell me which item it is?",
    ),
    TextWording("Find the item with the title ", ". About it we know: ", ". Which one is it?", ". Which one is it?"),
    TextWording("The catalogue lists ", ", with the words: ", ". Give its item.", ". Give its item."),
    TextWording("Somebody looks for ", ", told to be ", ". Name the item.", ". Name the item."),
    TextWording("Title: ", ". Description: ", ". Item?", ". Item?"),
    TextWording("What item does the name ", " with the text ", " stand for?", " stand for?"),
    TextWording("Match this product, ", ", explained by ", ", to its item.", ", to its item."),
    TextWording("We sell ", ". The label says ", ". Say which item that is.", ". Say which item that is."),
)


@dataclass(frozen=True)
class QueryWording:
    """Around a user's words."""

    before: str
    after: str


QUERY_WORDINGS: Final = (
    QueryWording("A user says: ", ". Which item answers that?"),
    QueryWording("You meet a user's query: ", ". Please respond to this user by selecting an appropriate item"),
    QueryWording("Somebody asks for this: ", ". Choose an item for them."),
    QueryWording("The request reads ", ". Give the item that suits it."),
    QueryWording("In a shopper's own words: ", ". What do they mean?"),
    QueryWording("Search: ", ". Best item?"),
    QueryWording("This was written about an item: ", ". Which item was it?"),
    QueryWording("A person describes a wish as ", ". Select one item."),
    QueryWording("Wanted: ", ". Recommend an item."),
)


def opening(text: str) -> str:
    """The first words of a prompt, inside the wrapper."""
    return WRAPPER_BEFORE + text


def closing(text: str) -> str:
    """The last words of a prompt, inside the wrapper."""
    return text + WRAPPER_AFTER


def phrases() -> list[str]:
    """Every fixed piece of a prompt, for a tokenizer that holds each of them as one token."""
    pieces = [opening(head) for head in HISTORY_HEADS]
    pieces += [closing(tail) for tail in (*SEQUENTIAL_TAILS, *NEGATIVE_TAILS)]
    for text in TEXT_WORDINGS:
        pieces += [opening(text.before), text.between, closing(text.after), closing(text.alone)]
    for query in QUERY_WORDINGS:
        pieces += [opening(query.before), closing(query.after)]
    return [*dict.fromkeys([*pieces, SEPARATOR])]
