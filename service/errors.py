"""What can go wrong in the service, and the HTTP status that says so.

- ServiceError: the root; one handler turns any of them into `{"error": "sentence"}`.
    - InvalidSettings: an environment variable is unknown or has an impossible value (never reaches a client).
    - InvalidPayload (400): the body does not fit the model's signature; the sentence names the place.
        - InvalidJson (400): the body is not a valid JSON document.
    - MalformedRequest (400): the path is under /v1/ but no route of the protocol.
    - UnknownLabel (400): the model has no such version label.
    - InvalidConfiguration (400): a model configuration that cannot be served.
    - Unauthorized (401): a token is needed, and none or a wrong one came.
    - Forbidden (403): the token, or the place that the request came from, does not allow this.
    - NonFiniteOutput (400): the model answered NaN or infinity, for which JSON has no form.
    - UnknownModel (404): no such model, or no such version of it.
    - RequestTimeout (408): the body did not come in time.
    - PayloadTooLarge (413): the body is larger than the service accepts.
    - AnswerTooLarge (413): the model's answer is larger than the service gives.
    - UnsupportedType (501): JSON has no form for the tensor's type.
    - ModelUnavailable (503): the model is still being loaded, or could not be.
        - QueueFull (503): too many rows are waiting already.
    - DeadlineExceeded (504): there was no answer within the time that the client or the settings give.
"""

# After how many seconds to ask again: where something is being loaded or started, and where a queue is full.
RETRY_AFTER_SECONDS, QUEUE_RETRY_AFTER_SECONDS = 2, 1


class ServiceError(Exception):
    """The root of the service's own errors; its text is a sentence for the client.

    Attributes:
        status: the HTTP status of the answer.
        retry_after_seconds: when asking again may help, or None where it will not.
    """

    status = 500
    retry_after_seconds: int | None = None


class InvalidSettings(ServiceError):
    """An environment variable is unknown or has an impossible value."""


class InvalidPayload(ServiceError):
    """The body does not fit the model's signature."""

    status = 400


class FailedPrecondition(InvalidPayload):
    """A request that is wrong in a way for which gRPC has a code of its own."""


class InvalidJson(InvalidPayload):
    """The body is not a valid JSON document."""


class MalformedRequest(ServiceError):
    """The path is under /v1/ but no route of the protocol."""

    status = 400


class UnknownLabel(ServiceError):
    """The model has no such version label."""

    status = 400


class InvalidConfiguration(ServiceError):
    """A model configuration that cannot be served."""

    status = 400


class Unauthorized(ServiceError):
    """A token is needed, and none or a wrong one came."""

    status = 401


class Forbidden(ServiceError):
    """The token, or the place that the request came from, does not allow this."""

    status = 403


class NonFiniteOutput(ServiceError):
    """The model answered NaN or infinity, for which JSON has no form."""

    status = 400


class UnknownModel(ServiceError):
    """No such model, or no such version of it."""

    status = 404


class RequestTimeout(ServiceError):
    """The body did not come in time."""

    status = 408


class PayloadTooLarge(ServiceError):
    """The body is larger than the service accepts.

    Args:
        max_body_bytes: the largest that it does.
    """

    status = 413

    def __init__(self, max_body_bytes: int) -> None:
        super().__init__(
            f"The body is larger than the {max_body_bytes} bytes that are accepted. Send fewer rows at a time."
        )


class AnswerTooLarge(ServiceError):
    """The model's answer is larger than the service gives."""

    status = 413


class UnsupportedType(ServiceError):
    """JSON has no form for the tensor's type."""

    status = 501


class ModelUnavailable(ServiceError):
    """The model is still being loaded, or could not be.

    Args:
        sentence: what is the matter.
        retry_after_seconds: when asking again may help, or None where it will not.
    """

    status = 503

    def __init__(self, sentence: str, retry_after_seconds: int | None = None) -> None:
        super().__init__(sentence)
        self.retry_after_seconds = retry_after_seconds


class QueueFull(ModelUnavailable):
    """Too many rows are waiting already."""


class DeadlineExceeded(ServiceError):
    """There was no answer within the time that the client or the settings give."""

    status = 504
