"""What all households of a market share in Salesforce: users, the lead queue, campaigns and their member statuses."""

from sandbox.market.mint import Block, Mint, Row, local_date, second
from sandbox.market.model import DAY, Options
from sandbox.market.programme import ASSETS, Programme, label_asset

_MEMBER_STATUSES = {
    "Webinar": (("Registered", False), ("Attended", True), ("No Show", False)),
    "Trade Show": (("Sent", False), ("Visited Booth", True)),
    "White Paper": (("Sent", False), ("Downloaded", True)),
}


class Org:
    """Ids of what all households share: users, the lead queue, campaigns. `block` holds their rows."""

    def __init__(self, options: Options, programme: Programme, mint: Mint) -> None:
        self.options = options
        self.programme = programme
        self.block = Block()
        self.users = [self._hire(mint, rep.number) for rep in programme.reps]
        self.queue = mint.salesforce("Group")
        self.block.salesforce["Group"].append(
            self._stamp(
                {"Id": self.queue, "Name": "新規リード", "DeveloperName": "New_Leads", "Type": "Queue"},
                programme.start_ms,
            )
        )
        self.webinars = [self._announce(mint, "Webinar", o.name, o.start_ms, o.end_ms) for o in programme.webinars]
        self.shows = [self._announce(mint, "Trade Show", o.name, o.start_ms, o.end_ms) for o in programme.shows]
        self.assets = [
            self._announce(mint, "White Paper", label_asset(name), programme.start_ms, None) for name in ASSETS
        ]

    def _hire(self, mint: Mint, number: int) -> str:
        rep = self.programme.reps[number]
        user = mint.salesforce("User")
        row = {
            "Id": user,
            "Username": rep.email,
            "LastName": rep.last,
            "FirstName": rep.first,
            "Name": f"{rep.last} {rep.first}",
            "Email": rep.email,
            "Alias": f"rep{number}",
            "CommunityNickname": f"rep{number}",
            "Department": rep.team,
            "IsActive": rep.active,
            "UserType": "Standard",
            "TimeZoneSidKey": "Asia/Tokyo",
            "LocaleSidKey": "ja_JP",
            "LanguageLocaleKey": "ja",
            "EmailEncodingKey": "UTF-8",
        }
        self.block.salesforce["User"].append(self._stamp(row, self.programme.start_ms - 30 * DAY))
        return user

    def _announce(self, mint: Mint, kind: str, name: str, start_ms: int, end_ms: int | None) -> str:
        campaign = mint.salesforce("Campaign")
        over = end_ms is not None and end_ms < self.options.now_ms
        created = min(start_ms - 40 * DAY, self.options.now_ms - DAY)
        row = {
            "Id": campaign,
            "Name": name[:80],
            "Type": kind,
            "Status": "Completed" if over else "In Progress",
            "IsActive": not over,
            "StartDate": local_date(start_ms),
            "EndDate": local_date(end_ms) if end_ms is not None else None,
            "OwnerId": self.users[0],
            "IsDeleted": False,
        }
        self.block.salesforce["Campaign"].append(self._stamp(row, created))
        for order, (label, responded) in enumerate(_MEMBER_STATUSES[kind]):
            status = {
                "Id": mint.salesforce("CampaignMemberStatus"),
                "CampaignId": campaign,
                "Label": label,
                "SortOrder": order + 1,
                "IsDefault": order == 0,
                "HasResponded": responded,
                "IsDeleted": False,
            }
            self.block.salesforce["CampaignMemberStatus"].append(self._stamp(status, created))
        return campaign

    def _stamp(self, row: Row, created_ms: int) -> Row:
        by = self.users[0] if getattr(self, "users", None) else None
        return stamp(row, created_ms, created_ms, by)

    def owner(self, index: int) -> str:
        """The rep of company number `index`; now and then one who has left."""
        return self.users[index % len(self.users)]


def stamp(row: Row, created_ms: int, modified_ms: int, by: str | None) -> Row:
    row["CreatedDate"] = second(created_ms)
    row["LastModifiedDate"] = row["SystemModstamp"] = second(max(created_ms, modified_ms))
    row["CreatedById"] = row["LastModifiedById"] = by
    return row
