"""Why an utterance has no features, and the checks that every decoder shares."""

# In Hz. A rate outside this range is from a damaged header, and resampling from it could fill the
# memory.
SAMPLE_RATE_RANGE = (4_000, 768_000)

MISSING_FILE = 'missing'  # the reason of a file that does not exist


class Rejection(Exception):
    """An utterance without features; the message is the short reason in `rejected.csv`."""


def check_sample_rate(rate: int) -> None:
    """Raises a Rejection for a sampling rate outside SAMPLE_RATE_RANGE."""
    if not SAMPLE_RATE_RANGE[0] <= rate <= SAMPLE_RATE_RANGE[1]:
        raise Rejection(f'unreadable: a sampling rate of {rate} Hz')
