"""Sentences for doctor and setup, in Japanese and English."""

from collections.abc import Mapping
from typing import Literal

_TEXTS: Mapping[str, tuple[str, str]] = {
    "group": ("{object} にプロパティグループ「{group}」を作成", "create property group {group} on {object}"),
    "property": ("{object} にプロパティ {name}({label})を作成", "create property {name} ({label}) on {object}"),
    "wrong_type": (
        "プロパティ {name} は既にありますが、型が {found} です(必要な型: {needed})。名称を変えるか削除してください",
        "property {name} exists with type {found}, needed is {needed}; rename or delete it",
    ),
    "not_unique": (
        "プロパティ {name} は一意と表示されますが、同じ値を2回登録できました。HubSpot で削除し、setup をもう一度実行してください",
        "property {name} is called unique, yet it took one value twice; delete it in HubSpot and run setup again",
    ),
    "lacking_options": (
        "プロパティ {name} に選択肢がありません: {options}",
        "property {name} lacks the options {options}; add them in HubSpot",
    ),
    "by_rep": ("営業担当者が入力し、Mikomi が読み取ります。", "Filled in by the rep, read by Mikomi."),
    "by_mikomi": ("Mikomi が書き込みます。手で変更しないでください。", "Written by Mikomi. Please do not edit."),
    "probe": ("Mikomi 設定確認(自動で削除されます)", "Mikomi set-up check (removes itself)"),
    "setup_hint": ("mikomi setup --apply を実行してください", "run mikomi setup --apply"),
    "connected": (
        "ポータル {portal} に接続しました(タイムゾーン {zone}、通貨 {currency})",
        "connected to portal {portal} (time zone {zone}, currency {currency})",
    ),
    "edition": (
        "エディションはおそらく {edition} です(1日の上限と Events API から推定)",
        "the edition is probably {edition} (from the daily limit and the events API)",
    ),
    "api": (
        "API v3 / v4 を使います(v4 の関連付け API は2027年3月まで提供予定)",
        "uses API v3 and v4 (v4 associations are announced until March 2027)",
    ),
    "readable": ("{object} を読み取れます: {rows} 件", "can read {object} (rows: {rows})"),
    "unreadable": ("{object} を読み取れません: {error}", "cannot read {object}: {error}"),
    "no_rows": (
        "{object} が1件も見えません。データがないか、アプリから見えない状態です",
        "not one of {object} is visible: there is none, or the app may not see them",
    ),
    "no_rows_hint": (
        "HubSpot の画面の件数と比べ、アプリのスコープを確認してください",
        "compare with the count on HubSpot's screen, and check the app's scopes",
    ),
    "scopes_ok": ("必要なスコープはすべて付与されています", "every scope that is needed is granted"),
    "scopes_missing": ("必要なスコープがありません: {scopes}", "scopes are missing: {scopes}"),
    "scopes_hint": (
        "アプリの設定で {scopes} を追加し、トークンを取得し直してください",
        "add {scopes} in the app's settings and renew the token",
    ),
    "setup_scopes_missing": (
        "mikomi setup に必要なスコープがありません: {scopes}",
        "scopes for mikomi setup are missing: {scopes}",
    ),
    "setup_scopes_hint": (
        "アプリに {scopes} を追加するか、管理者の非公開アプリのトークンを setup_token で渡してください(setup の間だけ使います)",
        "add {scopes} to the app, or give an administrator's private app token in setup_token (used by setup alone)",
    ),
    "scopes_unknown": (
        "書き込みのスコープは、書き込まずには確認できません",
        "the scopes for writing cannot be checked without writing",
    ),
    "fields_ok": ("Mikomi のプロパティ {count} 個が揃っています", "all {count} properties of Mikomi are there"),
    "fields_missing": ("Mikomi のプロパティがありません: {names}", "properties of Mikomi are missing: {names}"),
    "key_ok": ("タスクの一意キー {name} があります", "tasks have the unique key {name}"),
    "key_plain": (
        (
            "タスクのキー {name} は一意にできません。検疫モードで作成します(結果が不明なタスクは、待ってから検索で確かめ、"
            "見つからない場合だけ再作成します)"
        ),
        (
            "the key {name} on tasks cannot be unique here: quarantine mode (a task whose outcome is unknown is looked for after "
            "a wait, and made again only if it is not found)"
        ),
    ),
    "quota": (
        "本日の API 呼び出し: {used} / {limit}(全プライベートアプリ合計、{resets} にリセット)",
        "API calls today: {used} of {limit} (all private apps together, reset at {resets})",
    ),
    "quota_high": (
        "設定した上限 {share}% に達しているため、同期は一時停止します",
        "the granted share of {share} % is used up: syncs pause",
    ),
    "quota_hint": (
        "リセットを待つか、daily_share_percent を見直してください",
        "wait for the reset, or change daily_share_percent",
    ),
    "quota_unknown": ("この認証方式では1日の上限を取得できません", "the daily limit is not told to this kind of app"),
    "mapping_ok": (
        "マッピングはポータルのプロパティと一致しています",
        "the mapping agrees with the portal's properties",
    ),
    "all_kinds": ("このオブジェクト全体の件数", "rows of this object, all kinds together"),
    "not_counted": ("件数は API から取得できません", "cannot be counted by the API"),
    "contacts_counted": ("期間内に該当したコンタクト数", "contacts concerned in that time"),
    "all_time": ("全期間の件数", "of all time"),
    "enterprise": ("Enterprise エディションが必要です", "needs the Enterprise edition"),
    "no_source": ("HubSpot からは取得しない設定です", "no source is mapped in HubSpot"),
}


class Wording:
    """`say(key, **values)` in one language."""

    def __init__(self, language: Literal["ja", "en"]) -> None:
        self._place = 0 if language == "ja" else 1

    def __call__(self, key: str, **values: str) -> str:
        return _TEXTS[key][self._place].format(**values)
