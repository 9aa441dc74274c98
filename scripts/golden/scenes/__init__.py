"""What is played. A scene is a function of the stage; its documentation becomes the description in its trace."""

from . import closing, handshake, messages, publishing, topology

SCENES = {}
for module in (handshake, topology, publishing, messages, closing):
    for name, function in vars(module).items():
        if callable(function) and getattr(function, "__module__", None) == module.__name__:
            if function.__doc__ and not name.startswith("_"):
                SCENES[name.replace("_", "-")] = function
