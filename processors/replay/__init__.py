"""The log read again, with every effect switched off."""
