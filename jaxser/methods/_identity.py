"""The two halves of a batch of the methods that take identity examples."""

from jaxser.interfaces import BATCH_WIDE_KEYS, Batch


def split_batch(batch: Batch) -> tuple[Batch, Batch]:
    """Returns the emotion examples and the identity examples: the two halves of the batch."""
    B = len(batch['frames_B']) // 2
    emotion_batch, identity_batch = {}, {}
    for key, x in batch.items():
        is_batch_wide = key in BATCH_WIDE_KEYS
        emotion_batch[key] = x if is_batch_wide else x[:B]
        identity_batch[key] = x if is_batch_wide else x[B:]
    return emotion_batch, identity_batch
