"""The calls of openai-python's suite that llm-router does not offer, and how it has to answer them."""

import dataclasses
import re

# How the suite names its tests of one call: plainly, with every parameter, as a raw and as a streamed response.
SHAPES = r"test_(method|raw_response|streaming_response)_{call}(_with_all_params)?\["

STORED = "answers are not stored here, so there are none to read back, change or remove"
CONFIGURED = "the models are the operator's, in the configuration file: a client removes none"


@dataclasses.dataclass(frozen=True)
class NotOffered:
    """One call that is not offered; all its tests, and no others, have to fail with this status."""

    endpoint: str
    file: str
    call: str
    status: int
    reason: str

    def covers(self, test: str) -> bool:
        file, name = test.split("::")[0], test.split("::")[-1]
        return file == self.file and re.match(SHAPES.format(call=self.call), name) is not None

    def is_told_by(self, failure: str) -> bool:
        """Whether a test failed with the answer that an endpoint that is not offered gets, and not in another way."""
        return f"Error code: {self.status} " in failure and self.refusal in failure

    @property
    def refusal(self) -> str:
        return {404: "is not served here", 405: "this path takes"}[self.status]


NOT_OFFERED = (
    NotOffered("GET /chat/completions", "chat/test_completions.py", "list", 405, STORED),
    NotOffered("GET /chat/completions/{id}", "chat/test_completions.py", "retrieve", 404, STORED),
    NotOffered("POST /chat/completions/{id}", "chat/test_completions.py", "update", 404, STORED),
    NotOffered("DELETE /chat/completions/{id}", "chat/test_completions.py", "delete", 404, STORED),
    NotOffered("GET /chat/completions/{id}/messages", "chat/completions/test_messages.py", "list", 404, STORED),
    NotOffered("DELETE /models/{model}", "test_models.py", "delete", 405, CONFIGURED),
)
