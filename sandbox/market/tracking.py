"""What HubSpot's own tracking holds of a person: web events, e-mail events, forms, webinars, and the counters on top."""

import random

from sandbox.market.mint import Block, Mint, Row, iso
from sandbox.market.model import MINUTE, Act
from sandbox.market.portal import APP_ID, PRICING_LIST, Portal
from sandbox.market.presence import Entry
from sandbox.market.programme import ASSETS, PAGES, PRICING, SITE
from sandbox.market.spelling import furigana

_BROWSERS = {
    "": ("Chrome", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/140.0"),
    "scanner": ("Unknown", "Mozilla/5.0 (compatible; mail gateway)"),
    "mpp": ("Apple Mail Privacy Protection", "Mozilla/5.0"),
}


class Tracker:
    """Writes tracked activities of one household's contacts; `summarise` gives the counters of the latest contact."""

    def __init__(self, rng: random.Random, portal: Portal, mint: Mint, block: Block) -> None:
        self.rng = rng
        self.portal = portal
        self.mint = mint
        self.block = block
        self._clear()

    def _clear(self) -> None:
        self.views = 0
        self.last_view: tuple[int, str] | None = None
        self.opens: list[int] = []
        self.clicks: list[int] = []
        self.conversions: list[tuple[int, str]] = []
        self.contacts: list[int] = []
        self.priced = False

    def contacted(self, at: int) -> None:
        self.contacts.append(at)

    def record(self, act: Act, entry: Entry) -> int:
        """Write one activity; the stamp it leaves on the contact."""
        if max(act.at, act.known) > self.portal.options.now_ms - MINUTE:
            return 0
        match act.kind:
            case "page_view":
                self._view(act, entry)
            case "email_open" | "email_click":
                return self._read(act, entry)
            case "form_submit" | "download" | "inquiry":
                self._submit(act, entry)
            case "webinar_register" | "webinar_attend":
                self._take_part(act, entry)
            case "event_attend":
                known = max(act.known, entry.created_ms)  # visitors are imported after the show
                self._participate(self.portal.show_ids[act.topic], entry, "ATTENDED", act, known)
            case _:
                return 0
        return max(act.known, entry.created_ms)

    def summarise(self) -> Row:
        """The analytics properties of the contact whose activities were just written."""
        newest = max(self.conversions, default=None)
        summary: Row = {
            "hs_analytics_num_page_views": str(self.views),
            "num_conversion_events": str(len(self.conversions)),
            "hs_email_open": str(len(self.opens)),
            "hs_email_click": str(len(self.clicks)),
            "hs_email_last_open_date": iso(max(self.opens)) if self.opens else None,
            "hs_email_last_click_date": iso(max(self.clicks)) if self.clicks else None,
            "hs_analytics_last_timestamp": iso(self.last_view[0]) if self.last_view else None,
            "hs_analytics_last_url": self.last_view[1] if self.last_view else None,
            "recent_conversion_date": iso(newest[0]) if newest else None,
            "recent_conversion_event_name": newest[1] if newest else None,
            "notes_last_contacted": iso(max(self.contacts)) if self.contacts else None,
        }
        self._clear()
        return summary

    def _view(self, act: Act, entry: Entry) -> None:
        url = SITE + PAGES[act.topic]
        self.block.web_events.append(
            {
                "id": self.mint.event(),
                "eventType": "e_visited_page",
                "objectType": "CONTACT",
                "objectId": entry.id,
                "occurredAt": iso(act.at),
                "properties": {"hs_url": url, "hs_title": PAGES[act.topic]},
            }
        )
        self.views += 1
        if self.last_view is None or act.at > self.last_view[0]:
            self.last_view = (act.at, url)
        if act.topic == PRICING and not self.priced:  # the list shows the first time only
            self.priced = True
            joined = max(act.at, entry.created_ms)
            self.block.memberships.append({"listId": PRICING_LIST, "recordId": entry.id, "joined_ms": joined})

    def _read(self, act: Act, entry: Entry) -> int:
        if entry.email is None:
            return 0
        kind = "OPEN" if act.kind == "email_open" else "CLICK"
        sent = self.portal.programme.newsletters[act.topic]
        browser, agent = _BROWSERS[act.machine]
        event: Row = {
            "id": self.mint.event(),
            "created": act.at,
            "type": kind,
            "recipient": entry.email,
            "appId": APP_ID,
            "emailCampaignId": self.portal.campaign(act.topic),
            "sentBy": {"id": f"5a4d6b02-0000-4000-8000-{act.topic:012x}", "created": sent},
            # HubSpot recognises some of the gateways, not all.
            "filteredEvent": act.machine == "scanner" and self.rng.random() < 0.5,
            "browser": {"name": browser, "family": browser, "type": "Browser"},
            "userAgent": agent,
        }
        if kind == "CLICK":
            event["url"] = f"{SITE}{PAGES[(act.topic + act.link) % len(PAGES)]}?utm_source=newsletter"
        self.block.email_events.append(event)
        (self.opens if kind == "OPEN" else self.clicks).append(act.at)
        return max(act.at, entry.created_ms)

    def _submit(self, act: Act, entry: Entry) -> None:
        portal = self.portal
        if act.kind == "download":
            form = portal.asset_forms[act.topic]
            page = f"/download/{act.topic + 1}"
        elif act.kind == "inquiry":
            form, page = portal.price_form if act.topic % 2 else portal.inquiry_form, "/contact"
        else:
            form, page = portal.news_form, "/newsletter"
        self._send(form, act.at, page, entry)
        self.conversions.append((act.at, str(form["name"])))

    def _send(self, form: Row, at: int, page: str, entry: Entry) -> None:
        if entry.email is None:
            return
        kana = furigana(entry.person)
        values = [
            {"name": "email", "value": entry.email, "objectTypeId": "0-1"},
            {"name": "lastname_kana", "value": kana[0], "objectTypeId": "0-1"},
            {"name": "firstname_kana", "value": kana[1], "objectTypeId": "0-1"},
        ]
        if form in self.portal.asset_forms:
            values.append(
                {"name": "asset", "value": ASSETS[self.portal.asset_forms.index(form)], "objectTypeId": "0-1"}
            )
        self.block.submissions.append(
            {
                "formId": form["id"],
                "conversionId": self.mint.event(),
                "submittedAt": at,
                "pageUrl": SITE + page,
                "values": values,
            }
        )

    def _take_part(self, act: Act, entry: Entry) -> None:
        attended = act.kind == "webinar_attend"
        state = "ATTENDED" if attended else "REGISTERED"
        if not attended:
            self._send(self.portal.webinar_form, act.at, "/webinar", entry)
            self.conversions.append((act.at, "ウェビナー申込"))
        known = max(act.known, entry.created_ms)
        event_id = self.portal.webinar_ids[act.topic]
        self._participate(event_id, entry, state, act, known)
        occasion = self.portal.programme.webinars[act.topic]
        if not attended and not act.held and occasion.end_ms < self.portal.options.now_ms - MINUTE:
            missed = Act("webinar_register", occasion.end_ms, occasion.end_ms)
            self._participate(event_id, entry, "NO_SHOW", missed, max(occasion.end_ms, entry.created_ms))

    def _participate(self, event_id: int, entry: Entry, state: str, act: Act, known: int) -> None:
        row: Row = {
            "eventId": event_id,
            "contactId": int(entry.id),
            "state": state,
            "occurred_ms": act.at,
            "created_ms": known,
        }
        if state == "ATTENDED" and act.seconds:
            row["duration_s"] = act.seconds
            row["percentage"] = f"{act.seconds / 3600:.2f}"
        self.block.participations.append(row)
