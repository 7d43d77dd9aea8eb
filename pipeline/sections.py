"""What every block of `params.yaml` is made of: a frozen, checked object, and the ranges of its numbers."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Penalty = Annotated[float, Field(ge=0)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class Section(BaseModel):
    """A block of `params.yaml`: unknown keys and loose types are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
