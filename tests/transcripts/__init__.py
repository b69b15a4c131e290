"""Each module of scenarios enters its stories when it is imported: whoever asks for one of them has all."""

from tests.transcripts import across as across
from tests.transcripts import activities as activities
from tests.transcripts import cancellation as cancellation
from tests.transcripts import chains as chains
from tests.transcripts import full_runs as full_runs
from tests.transcripts import holding_still as holding_still
from tests.transcripts import transactional as transactional
