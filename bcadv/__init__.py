"""bcadv: can this medical image classifier be fooled, how easily, and does the defence help?"""

__version__ = "0.1.0"
