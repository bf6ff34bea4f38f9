"""A parsed HTML page."""

import html.parser


class Page(html.parser.HTMLParser):
    """All tags with their attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for kind, attributes in self.tags if kind == tag]
