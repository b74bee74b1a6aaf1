"""Sentences of the doctor and of setup, in Japanese and English."""

from collections.abc import Mapping

_TEXTS: Mapping[str, tuple[str, str]] = {
    # connection
    "signed_in": ("{user} としてログインしました(組織 {org})", "signed in as {user} (org {org})"),
    "version": ("{version}(最新は {newest})", "{version} (newest {newest})"),
    "version_gone": (
        "この組織は API バージョン {version} を提供していません",
        "the org does not serve version {version}",
    ),
    "version_hint": ("api_version を {newest} にしてください", "set api_version to {newest}"),
    "quota": ("残り {left}(1日の上限 {most})", "{left} of {most} left"),
    "quota_high": (
        "残り {left}(1日の上限 {most})。使用率が {share} % を超えているため、読み書きを一時停止します",
        "{left} of {most} left; above {share} % used we pause",
    ),
    "quota_hint": (
        "24時間の枠が空くのを待つか、quota_stop_at_percent を上げてください",
        "wait until the 24-hour window has moved on, or raise quota_stop_at_percent",
    ),
    "quota_unknown": ("残り回数を取得できません", "the org does not say how many are left"),
    "edition": ("{edition}({kind}、タイムゾーン {zone})", "{edition}, {kind}, time zone {zone}"),
    "production": ("本番組織", "production org"),
    "sandbox_org": ("Sandbox 組織", "sandbox org"),
    "edition_hidden": (
        "連携ユーザーは組織情報(Organization)を参照できません",
        "the integration user may not read Organization",
    ),
    # rights
    "object_hidden": ("オブジェクトがないか、参照権限がありません", "the object is missing or may not be read"),
    "columns_hidden": ("連携ユーザーから見えない項目: {names}", "hidden from the integration user: {names}"),
    "grant_read": (
        "連携ユーザーに {name} の参照権限を付与してください",
        "give the integration user read access to {name}",
    ),
    "grant_field": (
        "連携ユーザーの権限セットで {name} のこれらの項目を「参照」可にしてください",
        "give the integration user read access to these fields of {name} (field-level security)",
    ),
    "grant_field_edit": (
        "連携ユーザーの権限セットで {name} のこれらの項目を「編集」可にしてください",
        "give the integration user edit access to these fields of {name} (field-level security)",
    ),
    "grant_user": (
        "連携ユーザーにユーザー権限「{name}」を付与してください",
        "give the integration user the user permission {name}",
    ),
    "grant_edit": (
        "連携ユーザーに {name} の編集権限を付与してください",
        "give the integration user edit access to {name}",
    ),
    "no_edit": ("連携ユーザーは編集できません", "the integration user may not edit it"),
    "mapped": (
        "マッピングした項目はすべて存在し、参照できます",
        "every mapped field is there and readable",
    ),
    "fields_missing": (
        "{total} 項目中 {count} 項目がないか、見えません: {names}",
        "{count} of {total} missing or hidden: {names}",
    ),
    "fields_locked": ("連携ユーザーが書き込めない項目: {names}", "the integration user may not write {names}"),
    "fields_ok": (
        "{total} 項目すべてを参照でき、Mikomi の項目には書き込めます",
        "all {total} can be read, and written where they are ours",
    ),
    "and_more": ("{names} ほか {count} 項目", "{names} and {count} more"),
    "no_tasks": ("連携ユーザーは ToDo を作成できません", "the integration user may not create tasks"),
    "tasks_hint": (
        "連携ユーザーに「ToDo の編集」権限を付与してください",
        "give the integration user the permission Edit Tasks",
    ),
    "no_key": (
        "Task.{key} がないか、見えないか、書き込めません。ToDo は作成されません",
        "Task.{key} is missing, hidden or cannot be set: no task will be created",
    ),
    "tasks_ok": ("作成でき、ToDo のキーは一意です", "allowed, and the key on tasks is unique"),
    # rows
    "rows_hidden": (
        "{total} 件のうち {seen} 件しか見えません。共有ルールにより残りが隠れています",
        "only {seen} of {total} rows are visible: sharing rules hide the others",
    ),
    "rows_hint": (
        "連携ユーザーに {name} の「すべて表示」(または「すべてのデータの参照」)を付与してください",
        "give the integration user View All on {name} (or View All Data)",
    ),
    # signals
    "no_such_signal": (
        "Salesforce にはこの情報がありません。HubSpot から取るか、マッピングで指定してください",
        "Salesforce keeps no such fact; take it from HubSpot or map one",
    ),
    "estimated": ("直近 {rows} 件からの推定", "estimated from {rows} rows"),
    "later": ("これを解決すると、mikomi doctor が続きを調べます", "mikomi doctor shows more once this is solved"),
    # setup
    "not_admin": (
        "連携ユーザーは項目を作成できません。管理者のアクセストークンを setup_access_token か環境変数 {variable} で渡してください",
        "the integration user may not create fields: give setup an administrator's token in setup_access_token or {variable}",
    ),
    "wrong_type": (
        "別の型({found}、必要な型は {needed})で既に存在します。先に Salesforce で名前を変えるか削除してください",
        "it exists with another type ({found} instead of {needed}): rename or delete it in Salesforce first",
    ),
    "set_step": ("連携ユーザーが Mikomi の項目を使うための権限", "rights on our fields for the integration user"),
    "rights_step": (
        "Mikomi の {count} 項目の参照と編集(営業が入力する項目は参照のみ)",
        "read and edit on our {count} fields; read only where the rep writes",
    ),
    "assign_step": ("{user} に割り当て", "to {user}"),
    "the_user": ("連携ユーザー", "the integration user"),
    "key_step": (
        "引き渡し1回につき ToDo は1件: キーが一意で、書き込めること",
        "one task per hand-over: the key on tasks is unique and can be set",
    ),
    "key_fails": (
        "連携ユーザーがキー Task.{key} を書き込めません。ToDo の作成は無効のままです",
        "the integration user cannot set Task.{key}: tasks stay switched off",
    ),
    "key_plain": (
        (
            "ToDo のキー Task.{key} は一意ではありません。検疫モードで作成します(結果が不明な ToDo は、待ってから検索で確かめ、"
            "見つからない場合だけ再作成します)"
        ),
        (
            "Task.{key} is not unique here: quarantine mode (a task whose outcome is unknown is looked for after a wait, and made "
            "again only if it is not found)"
        ),
    ),
    "note_key": (
        "Mikomi が作成した ToDo の識別キー(変更しないでください)",
        "Mikomi's key of a task. Do not edit.",
    ),
    "note_by_rep": (
        "営業担当者が入力し、Mikomi が読み取ります",
        "Filled in by the rep, read by Mikomi.",
    ),
    "note_ours": (
        "Mikomi が自動更新します(手入力は上書きされます)",
        "Kept up to date by Mikomi; edits are overwritten.",
    ),
}


class Wording:
    """Says a sentence in one language."""

    def __init__(self, language: str) -> None:
        self.japanese = language == "ja"

    def __call__(self, key: str, /, **values: object) -> str:
        return _TEXTS[key][0 if self.japanese else 1].format(**values)
