"""A reader of HTML pages that checks that they are well-formed."""

import html.parser
import re

from jaxser.reporting import plotting


class Page(html.parser.HTMLParser):
    """A page as a browser reads it; fails where an element is not closed, or closed unopened."""

    def __init__(self, text: str):
        super().__init__()
        self.open_tags, self.elements, self.texts, self.styles = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open_tags == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ('meta', 'img'):
            self.open_tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open_tags.pop() == tag

    def handle_data(self, data):
        in_style = self.open_tags[-1:] == ['style']
        (self.styles if in_style else self.texts).append(data)

    @property
    def text(self) -> str:
        return re.sub(r'\s+', ' ', ' '.join(self.texts))

    def elements_of(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.elements if name == tag]

    def cards(self) -> dict[str, str]:
        """Returns the status of each card by its name."""
        statuses = {}
        for attrs in self.elements_of('section'):
            if 'card' in attrs.get('class', '').split():
                name = attrs['aria-labelledby'].removeprefix('card-')
                statuses[name] = attrs['class'].removeprefix('card ')
        return statuses

    def ids(self) -> list[str]:
        return [attrs['id'] for _, attrs in self.elements if 'id' in attrs]

    def heading_levels(self) -> list[int]:
        return [int(tag[1]) for tag, _ in self.elements if re.fullmatch('h[1-6]', tag)]


def skip_drawing(monkeypatch) -> None:
    """Figures are not drawn: a test of words is quick."""
    monkeypatch.setattr(plotting, 'render_png', lambda draw, *arguments: b'')
    drawing = plotting.Drawing('<svg/>', 1, 1)
    monkeypatch.setattr(plotting, 'render_svg', lambda draw, *arguments: drawing)
