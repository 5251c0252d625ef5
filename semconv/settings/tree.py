"""Define the settings tree: one frozen dataclass per section.

The ``doc`` of a field appears in the settings page, in the comments of a new project's ``semconv.toml`` and in the
help of a command line option.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast, get_type_hints

from semconv.settings.backbone import BackboneSettings
from semconv.settings.behavior import BehaviorSettings, DccfSettings
from semconv.settings.blend import BlendSettings
from semconv.settings.codebook import CodebookSettings, RqvaeSettings
from semconv.settings.counter import CounterSettings
from semconv.settings.evaluate import EvaluateSettings
from semconv.settings.events import EventSettings
from semconv.settings.gates import GateSettings
from semconv.settings.publish import PublishSettings
from semconv.settings.recommend import RecommendSettings
from semconv.settings.refit import RefitSettings
from semconv.settings.smoothed import SmoothedSettings
from semconv.settings.split import SplitSettings
from semconv.settings.tasks import TaskSettings
from semconv.settings.text_vectors import TextSettings
from semconv.settings.tuning import TuningSettings


@dataclass(frozen=True)
class Settings:
    """All settings of a project."""

    events: EventSettings = dataclasses.field(default_factory=EventSettings)
    split: SplitSettings = dataclasses.field(default_factory=SplitSettings)
    behavior: BehaviorSettings = dataclasses.field(default_factory=BehaviorSettings)
    dccf: DccfSettings = dataclasses.field(default_factory=DccfSettings)
    backbone: BackboneSettings = dataclasses.field(default_factory=BackboneSettings)
    text: TextSettings = dataclasses.field(default_factory=TextSettings)
    codebook: CodebookSettings = dataclasses.field(default_factory=CodebookSettings)
    rqvae: RqvaeSettings = dataclasses.field(default_factory=RqvaeSettings)
    refit: RefitSettings = dataclasses.field(default_factory=RefitSettings)
    tasks: TaskSettings = dataclasses.field(default_factory=TaskSettings)
    tuning: TuningSettings = dataclasses.field(default_factory=TuningSettings)
    counter: CounterSettings = dataclasses.field(default_factory=CounterSettings)
    smoothed: SmoothedSettings = dataclasses.field(default_factory=SmoothedSettings)
    blend: BlendSettings = dataclasses.field(default_factory=BlendSettings)
    recommend: RecommendSettings = dataclasses.field(default_factory=RecommendSettings)
    evaluate: EvaluateSettings = dataclasses.field(default_factory=EvaluateSettings)
    publish: PublishSettings = dataclasses.field(default_factory=PublishSettings)
    gates: GateSettings = dataclasses.field(default_factory=GateSettings)


def sections() -> dict[str, type[Any]]:
    """Return each section's dataclass by the section's name."""
    return {name: cast("type[Any]", hint) for name, hint in get_type_hints(Settings).items()}


def iter_options() -> Iterator[tuple[str, dataclasses.Field[Any], Any]]:
    """Yield section, field and type of every setting."""
    for section, cls in sections().items():
        hints = get_type_hints(cls)
        for field in dataclasses.fields(cls):
            yield section, field, hints[field.name]
