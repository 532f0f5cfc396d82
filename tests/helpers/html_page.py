"""A reader of HTML pages that checks that they are well-formed."""

import html.parser
import re


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

    def count_warnings(self) -> int:
        return sum(attrs.get('role') == 'alert' for attrs in self.elements_of('div'))
