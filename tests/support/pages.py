"""Reading the site's pages."""

from html.parser import HTMLParser

ATTACK = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)> \"'--><!-- {{ 7*7 }} &lt; \u202e \U0001f600 =1+1"
)
LOADING = {"src", "srcset", "href", "action", "poster", "data", "formaction", "background", "xlink:href"}


class Page(HTMLParser):
    """Elements, their attributes, and the text of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.inside = [], {"script": "", "style": ""}, ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside in self.texts:
            self.texts[self.inside] += data

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def addresses(self):
        """Everything that the page loads or points to."""
        return [value for _, attributes in self.elements for name, value in attributes.items() if name in LOADING]
