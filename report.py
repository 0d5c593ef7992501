"""Put a sweep into a table with error bars: `python report.py --help` says how."""

from ddpm_lightning.verbs.commands import report

if __name__ == "__main__":
    report()
