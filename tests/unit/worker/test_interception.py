"""Inputs of interceptors carry all that requests do, and only interceptors are taken."""

import pytest

from perdure import client
from perdure._headers import headers_of
from perdure._options import StartOptions
from perdure._runtime import ActivityRequest, ChildWorkflowRequest, ContinueAsNewRequest
from perdure.exceptions import ConversionError
from perdure_worker import ContinueAsNewInput, StartActivityInput, StartChildWorkflowInput
from perdure_worker.workflow_interception import OTHERWISE_CALLED, as_input, as_request


def test_an_input_carries_every_option_of_a_start() -> None:
    """An option that were missing would be lost where interceptors are."""
    assert StartOptions.__annotations__.keys() <= client.StartWorkflowInput.__dataclass_fields__.keys()


@pytest.mark.parametrize(
    ("kind", "request_type"),
    [
        (StartActivityInput, ActivityRequest),
        (StartChildWorkflowInput, ChildWorkflowRequest),
        (ContinueAsNewInput, ContinueAsNewRequest),
    ],
)
def test_an_input_carries_every_field_of_a_request(
    kind: type[StartActivityInput | StartChildWorkflowInput | ContinueAsNewInput],
    request_type: type[ActivityRequest | ChildWorkflowRequest | ContinueAsNewRequest],
) -> None:
    """A field that were missing would be lost where interceptors are."""
    names = {OTHERWISE_CALLED.get(name, name) for name in kind.__dataclass_fields__}
    assert set(request_type.__struct_fields__) - {"local"} == names


def test_a_request_comes_back_as_it_was() -> None:
    """Through an input and back, with the headers that were added."""
    request = ActivityRequest(activity_type="greet", args=("Ada",), kwargs={"loud": True}, result_type=str)
    given = as_input(request, StartActivityInput)
    assert request == as_request(given, ActivityRequest)
    given.headers = {"tenant": "acme"}
    assert {"tenant": "acme"} == as_request(given, ActivityRequest).headers


@pytest.mark.parametrize("headers", [{"x": object()}, {3: 4, "y": {object(): 1}}])
def test_headers_that_are_no_json_are_refused(headers: dict[str, object]) -> None:
    """The error says what is wrong."""
    with pytest.raises(ConversionError, match="headers are JSON values by name"):
        headers_of(headers)
