"""Each module of stories enters them when it is imported: whoever asks for one of them has all."""

from tests.replay.cancellation import aftermath as aftermath
from tests.replay.cancellation import moments as moments
from tests.replay.cancellation import nesting as nesting
from tests.replay.cancellation import shields as shields
