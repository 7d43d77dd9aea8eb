"""A validation error of `params.yaml` as one sentence: where, what was expected, what was received."""

import types
import typing
from typing import Any

from pydantic import BaseModel, ValidationError


def describe(error: ValidationError, root: type[BaseModel]) -> str:
    """Turns a validation error into sentences that name every offender.

    Args:
        error: what pydantic raised.
        root: the class that was being validated.

    Returns:
        One line per offender, e.g. "models.digits.train: unknown key 'epoch'. Allowed: 'batch_size', 'epochs', ...".
    """
    return "\n".join(_sentence(detail, root) for detail in error.errors(include_url=False))


def _sentence(detail: Any, root: type[BaseModel]) -> str:
    path, kind, context = list(detail["loc"]), detail["type"], detail.get("ctx", {})
    owner = _model_at(root, path[:-1])
    if kind == "extra_forbidden" and owner:
        return f"{_dotted(path[:-1], root)}: unknown key {path[-1]!r}. Allowed: {_quoted(owner.model_fields)}."
    if kind == "missing":
        return f"{_dotted(path[:-1], root)}: the key {path[-1]!r} is missing."
    if kind == "union_tag_invalid":
        discriminator = context["discriminator"].strip("'")
        place, received = _dotted([*path, discriminator], root), context["tag"]
        return f"{place}: unknown value {received!r}. Allowed: {context['expected_tags']}."
    if kind == "union_tag_not_found":
        return f"{_dotted(path, root)}: the key {context['discriminator']} is missing."
    if kind == "literal_error":
        place = _dotted(path, root)
        return f"{place}: unknown value {detail['input']!r}. Allowed: {context['expected'].replace(' or ', ', ')}."
    return f"{_dotted(path, root)}: {_lower_first(detail['msg'])}. Received: {detail['input']!r}."


def _model_at(root: type[BaseModel], path: list[Any]) -> type[BaseModel] | None:
    """The class that validates the place `path`; union tags in the path pick the member of the union."""
    current: Any = root
    for step in path:
        current = _step_into(current, step)
    members = [current, *typing.get_args(_unwrap(current))]
    return next((member for member in members if isinstance(member, type) and issubclass(member, BaseModel)), None)


def _step_into(annotation: Any, step: Any) -> Any:
    annotation = _unwrap(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(step)
        return field.annotation if field else None
    members = typing.get_args(annotation)
    if typing.get_origin(annotation) is dict:
        return members[1]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        models = [member for member in members if isinstance(member, type) and issubclass(member, BaseModel)]
        tagged = [model for model in models if _has_tag(model, step)]
        # A union without tags (`X | None`) adds no step of its own to pydantic's path.
        return tagged[0] if tagged else (_step_into(models[0], step) if models else None)
    return None


def _has_tag(model: type[BaseModel], tag: Any) -> bool:
    return any(
        tag in typing.get_args(field.annotation)
        for field in model.model_fields.values()
        if typing.get_origin(field.annotation) is typing.Literal
    )


def _unwrap(annotation: Any) -> Any:
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    return annotation


def _dotted(path: list[Any], root: type[BaseModel]) -> str:
    """The path as it stands in the file: without the tags and type names that pydantic adds for unions."""
    shown: list[str] = []
    current: Any = root
    for step in path:
        union = typing.get_origin(_unwrap(current)) in (typing.Union, types.UnionType)
        following = _step_into(current, step)
        if not (union and isinstance(following, type) and _has_tag(following, step)) and not _is_type_name(step):
            shown.append(str(step))
        current = following
    return ".".join(shown) or "the top level"


def _is_type_name(step: Any) -> bool:
    return isinstance(step, str) and ("[" in step or "-" in step or step in ("float", "int", "str"))


def _quoted(names: Any) -> str:
    return ", ".join(repr(name) for name in names)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
