"""Put a sweep into a table with error bars: `python report.py --help` says how."""

from ddpm_lightning.verbs.report import main

if __name__ == "__main__":
    main()
