"""The names of what a model predicts: classes of emotions, ratings, or both."""

from typing import NamedTuple

import numpy as np

# The arrays that an exported program returns.
POSTERIOR = 'posterior_BxC'
RATINGS = 'rating_BxA'


class OutputNames(NamedTuple):
    """The classes and ratings that a model predicts, in the order of its outputs."""

    classes: tuple[str, ...]  # () for a model of ratings alone
    ratings: tuple[str, ...] = ()  # () for a model of classes alone

    @classmethod
    def from_metadata(cls, metadata: dict) -> 'OutputNames':
        """Returns the names in model.json; models of earlier versions have no ratings."""
        return cls(tuple(metadata['classes']), tuple(metadata.get('ratings', ())))

    def make_prediction(self, output_O: np.ndarray | None) -> dict:
        """Returns the outputs of an utterance as a prediction.

        With classes it has 'emotion', the most probable one, and 'posterior': {class:
        probability}. Each rating is a number from -1 to 1 under its own name. All are None if
        `output_O`, which has the posterior first and then the ratings, is None.
        """
        prediction: dict = {}
        if self.classes:
            prediction = {'emotion': None, 'posterior': None}
        prediction |= dict.fromkeys(self.ratings)
        if output_O is None:
            return prediction
        if self.classes:
            p_C = output_O[: len(self.classes)]
            prediction['emotion'] = self.classes[int(p_C.argmax())]
            prediction['posterior'] = dict(zip(self.classes, p_C.tolist()))
        rating_A = output_O[len(self.classes) :]
        return prediction | dict(zip(self.ratings, rating_A.tolist()))

    def find_values(self, prediction: dict) -> dict[str, float]:
        """Returns the probabilities and the ratings of a prediction by name; {} if it has none."""
        values = dict(prediction.get('posterior') or {})
        for name in self.ratings:
            if prediction.get(name) is not None:
                values[name] = prediction[name]
        return values

    def format_values(self, values: dict[str, float], digits: int = 2) -> dict[str, str]:
        """Returns the values of `find_values` as text; ratings have a sign."""
        texts = {}
        for name, value in values.items():
            sign = '+' if name in self.ratings else ''
            texts[name] = f'{value:{sign}.{digits}f}'
        return texts
