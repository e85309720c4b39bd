"""Packages of modules with given texts."""


def written(root, **texts):
    """Write modules, whose names have ``__`` between folders, and the ``__init__.py`` of their folders."""
    for name, text in texts.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for folder in path.parents:
            if folder in (root, root.parent):
                break
            (folder / "__init__.py").touch()
