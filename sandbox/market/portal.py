"""What all households of a market share in HubSpot: owners, forms, the pricing list, marketing events, newsletters."""

from sandbox.market.mint import Mint, Row, iso
from sandbox.market.model import DAY, HOUR, Options
from sandbox.market.programme import ASSETS, Occasion, Programme, label_asset

PRICING_LIST = 101
APP_ID = 113
_FIRST_OWNER = 71_000_001
_FIRST_CAMPAIGN = 260_000_001


class Portal:
    """Ids of the shared things and their rows, as the load doors of the emulator take them."""

    def __init__(self, options: Options, programme: Programme, mint: Mint) -> None:
        self.options = options
        self.programme = programme
        self.owners = [self._own(number) for number in range(len(programme.reps))]
        self.inquiry_form = self._form(0, "お問い合わせ")
        self.price_form = self._form(1, "料金のお問い合わせ")
        self.asset_forms = [self._form(2 + n, label_asset(name)) for n, name in enumerate(ASSETS)]
        self.webinar_form = self._form(2 + len(ASSETS), "ウェビナー申込")
        self.news_form = self._form(3 + len(ASSETS), "メールマガジン登録")
        self.forms: list[Row] = [self.inquiry_form, self.price_form, *self.asset_forms]
        self.forms += [self.webinar_form, self.news_form]
        self.lists: list[Row] = [
            {
                "listId": str(PRICING_LIST),
                "name": "visited /pricing",
                "objectTypeId": "0-1",
                "processingType": "DYNAMIC",
                "createdAt": iso(programme.start_ms),
            }
        ]
        self.events: list[Row] = []
        self.webinar_ids = [self._announce(mint, occasion, "WEBINAR") for occasion in programme.webinars]
        self.show_ids = [self._announce(mint, occasion, "展示会") for occasion in programme.shows]

    def owner(self, index: int) -> str:
        return str(self.owners[index % len(self.owners)]["id"])

    def campaign(self, newsletter: int) -> int:
        """The e-mail campaign id of a newsletter."""
        return _FIRST_CAMPAIGN + newsletter

    def _announce(self, mint: Mint, occasion: Occasion, kind: str) -> int:
        event_id = mint.hubspot("marketing_events")
        self.events.append(
            {
                "objectId": str(event_id),
                "eventName": occasion.name,
                "eventType": kind,
                "eventOrganizer": "株式会社セラー",
                "externalEventId": f"{'webinar' if kind == 'WEBINAR' else 'show'}-{occasion.number + 1}",
                "startDateTime": iso(occasion.start_ms),
                "endDateTime": iso(occasion.end_ms),
                "createdAt": iso(occasion.start_ms - 40 * DAY),
                "updatedAt": iso(min(occasion.end_ms + HOUR, self.options.now_ms)),
                "eventCompleted": occasion.end_ms < self.options.now_ms,
            }
        )
        return event_id

    def _own(self, number: int) -> Row:
        rep = self.programme.reps[number]
        return {
            "id": str(_FIRST_OWNER + number),
            "email": rep.email,
            "type": "PERSON",
            "firstName": rep.first,
            "lastName": rep.last,
            "userId": 9_500_001 + number,
            "createdAt": iso(self.programme.start_ms - 30 * DAY),
            "updatedAt": iso(self.programme.start_ms - 30 * DAY),
            "archived": not rep.active,
        }

    def _form(self, number: int, name: str) -> Row:
        return {
            "id": f"5a4d6b01-0000-4000-9000-{number:012x}",
            "name": name,
            "formType": "hubspot",
            "createdAt": iso(self.programme.start_ms),
            "updatedAt": iso(self.programme.start_ms),
            "archived": False,
        }
