"""`python -m sandbox`: both emulators with a seeded market, without the product around them."""

import argparse
import sys

from sandbox.main import EDITIONS, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--salesforce-port", type=int, default=0, metavar="P", help="0 takes a free one")
    parser.add_argument("--hubspot-port", type=int, default=0, metavar="Q", help="0 takes a free one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--people", type=int, default=2000)
    parser.add_argument("--records", type=int, help="plain records of each CRM instead of the market")
    parser.add_argument("--no-limits", action="store_true", help="switch rate limits and quotas off")
    parser.add_argument("--edition", choices=EDITIONS, default="Professional", help="of the HubSpot portal")
    parser.add_argument("--tls", action="store_true", help="serve a self-signed port as well")
    parser.add_argument(
        "--database-dir", metavar="DIR", help="keep the databases here instead of in a temporary folder"
    )
    args = parser.parse_args()
    return run(
        salesforce_port=args.salesforce_port,
        hubspot_port=args.hubspot_port,
        seed=args.seed,
        people=args.people,
        no_limits=args.no_limits,
        records=args.records,
        tls=args.tls,
        edition=args.edition,
        database_dir=args.database_dir,
    )


if __name__ == "__main__":
    sys.exit(main())
