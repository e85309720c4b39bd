"""The codes of languages that captions can be parsed in."""

LANGUAGES = {
    "ar": "Arabic",
    "ast": "Asturian",
    "bg": "Bulgarian",
    "ca": "Catalan",
    "cs": "Czech",
    "cy": "Welsh",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "enm": "Middle English",
    "eo": "Esperanto",
    "es": "Spanish",
    "et": "Estonian",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "ga": "Irish",
    "gd": "Scottish Gaelic",
    "gl": "Galician",
    "grc": "Ancient Greek",
    "gu": "Gujarati",
    "gv": "Manx",
    "hbs": "Serbo-Croatian",
    "he": "Hebrew",
    "hi": "Hindi",
    "hu": "Hungarian",
    "hy": "Armenian",
    "id": "Indonesian",
    "is": "Icelandic",
    "it": "Italian",
    "ja": "Japanese",
    "ka": "Georgian",
    "km": "Khmer",
    "ko": "Korean",
    "la": "Latin",
    "lb": "Luxembourgish",
    "lo": "Lao",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "mk": "Macedonian",
    "ml": "Malayalam",
    "ms": "Malay",
    "my": "Burmese",
    "nb": "Norwegian",
    "nl": "Dutch",
    "nn": "Norwegian Nynorsk",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "se": "Northern Sami",
    "sk": "Slovak",
    "sl": "Slovene",
    "sq": "Albanian",
    "sv": "Swedish",
    "sw": "Swahili",
    "th": "Thai",
    "tl": "Tagalog",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "vi": "Vietnamese",
    "zh": "Chinese",
    "other": "any other language",
}
# What users write for one of them.
_ALSO = {"no": "nb", "norsk": "nb", "hr": "hbs", "sr": "hbs", "bs": "hbs", "croatian": "hbs", "serbian": "hbs"}
_ALSO |= {"deutsch": "de", "français": "fr", "español": "es", "mandarin": "zh", "farsi": "fa", "slovenian": "sl"}


def known_language(value: str) -> str:
    """Check the code of a language.

    Raises
    ------
    ValueError
        If the code is not known. The message names the right one if it can be told.
    """
    if value in LANGUAGES:
        return value
    low = value.strip().lower()
    names = {name.lower(): code for code, name in LANGUAGES.items()} | _ALSO
    short = low.replace("_", "-").split("-")[0]
    meant = names.get(low) or names.get(short) or (short if short in LANGUAGES else "")
    fix = f"write {meant}" if meant else "write one of " + ", ".join(LANGUAGES)
    raise ValueError(f"is no code of a language that is known; {fix}")
