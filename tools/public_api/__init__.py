"""What the package offers to callers, in both languages, read from the code.

``python`` has the names of a module with their members, signatures and docstrings; ``javascript`` has those of the
JavaScript package, using ``javascript.mjs``; ``pairs`` says which belong together; ``docstrings`` makes Markdown.
"""
