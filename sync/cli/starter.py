"""`mikomi init`: a commented configuration and rulebook that an admin can fill in without other documents."""

from collections.abc import Mapping
from pathlib import Path

from core.errors import InvalidSettings
from core.rulebook import ADVISED, template_text, templates
from sync.cli.output import print_line
from sync.settings import DEFAULT_FILE
from sync.texts import speaker

RULEBOOK_FILE = "rulebook.yaml"


def write_starter(folder: Path, *, language: str, template: str = ADVISED) -> None:
    """Write `mikomi.yaml` and `rulebook.yaml` into `folder` (made if missing) and say what comes next.

    Raises:
        InvalidSettings: unknown language or template, both files there already, a folder that cannot be written.

    """
    if language not in _COMMENTS:
        raise InvalidSettings(f"unknown language {language!r}", hint="--language ja or --language en")
    if template not in templates():
        raise InvalidSettings(
            f"there is no rulebook template {template!r}", hint=f"--template {' or --template '.join(templates())}"
        )
    texts = {folder / DEFAULT_FILE: settings_text(language), folder / RULEBOOK_FILE: template_text(template)}
    missing = {path: text for path, text in texts.items() if not path.exists()}
    if not missing:
        raise InvalidSettings(
            f"{' and '.join(map(str, texts))} are there already and are left as they are",
            hint="name another folder: mikomi init FOLDER",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in missing.items():
            with path.open("x", encoding="utf-8", newline="\n") as stream:
                stream.write(text)
    except OSError as error:
        raise InvalidSettings(
            f"cannot write into {folder}: {error.strerror}", hint="name another folder: mikomi init FOLDER"
        ) from error
    _say_next(folder, language, list(missing))


def settings_text(language: str) -> str:
    """The text of a fresh `mikomi.yaml`: every key with its default, comments in `ja` or `en`."""
    text = _SETTINGS
    for name, comment in _COMMENTS[language].items():
        text = text.replace(f"«{name}»", comment)
    return text.replace("«language-code»", language)


def _say_next(folder: Path, language: str, written: list[Path]) -> None:
    say = speaker(language)
    for path in written:
        print_line(say("Written: {path}", path=path), "green")
    config = "" if folder == Path() else f" --config {folder / DEFAULT_FILE}"
    print_line()
    print_line(say("Next:"), "bold")
    steps = (
        say("Fill in login_url and client_id of Salesforce in {file}.", file=DEFAULT_FILE),
        say("Put the secrets into the environment (never into the file):"),
        say("Mark your target industries and pages in {file} (look for ★).", file=RULEBOOK_FILE),
        say("See whether it can work: {command}", command=f"mikomi doctor{config}"),
        say("See which fields will be created in the CRMs: {command}", command=f"mikomi setup --plan{config}"),
        say("Score without writing anything to the CRMs: {command}", command=f"mikomi sync{config}"),
        say("Look at twenty people you know: {command}", command=f"mikomi sample{config}"),
        say(
            "Before scores are written (`stage: fields`), create the fields: {command}",
            command=f"mikomi setup --apply{config}",
        ),
    )
    for number, step in enumerate(steps, 1):
        print_line(f"  {number}. {step}")
        if number == 2:
            for variable in ("MIKOMI_SALESFORCE_CLIENT_SECRET", "MIKOMI_HUBSPOT_TOKEN"):
                print_line(f"       export {variable}=…")


_SETTINGS = """\
# «title»
# «secrets-1»
# «secrets-2»

state: sqlite:///mikomi.sqlite3      # «state»
timezone: Asia/Tokyo                 # «timezone»
language: «language-code»                         # «language»
rulebook: rulebook.yaml              # «rulebook»

# «stage-1»
# «stage-2»
stage: observe

connections:
  salesforce:                        # «connection-name»
    vendor: salesforce
    # «sf-auth»
    auth: client_credentials         # jwt | refresh_token | access_token
    login_url: https://login.salesforce.com   # «sf-login»
    client_id:                       # «sf-client»
    # client_secret: {file: /run/secrets/salesforce}   # «sf-secret»
    # username: mikomi@your-company.example            # «sf-username»
    # private_key: {file: /run/secrets/salesforce.pem} # jwt
    # refresh_token: {keyring: mikomi/salesforce}      # refresh_token
    # setup_access_token: {env: SALESFORCE_ADMIN_TOKEN}  # «sf-setup»
    fields: all                      # «fields»
    quota_stop_at_percent: 80        # «sf-quota»
    # quota_calls_per_day: 20000     # «sf-calls»
    # lookback_minutes: 10           # «lookback»
    # settle_seconds: 120            # «settle»
    # timeout_seconds: 60            # «timeout»
    # mapping: {fields: {lead: {corporate_number: Houjin_Bangou__c}}}   # «mapping»
  hubspot:
    vendor: hubspot
    # token: {file: /run/secrets/hubspot}   # «hs-token»
    # oauth: {client_id: …, client_secret: {env: …}, refresh_token: {keyring: mikomi/hubspot}}
    # setup_token: {env: HUBSPOT_ADMIN_TOKEN}   # «hs-setup»
    linked_system: salesforce        # «hs-linked»
    fields: all
    daily_share_percent: 80          # «hs-quota»
    # daily_calls: 50000             # «hs-calls»
    # burst_share_percent: 80        # «hs-burst»
    # overlap_minutes: 10            # «lookback»
    # settle_seconds: 90             # «settle»
    # timeout_seconds: 60            # «timeout»
    # mapping: {company: {fields: {corporate_number: houjin_bangou}}}

# «deliver»
deliver:
  delta: 3                           # «delta»
  refresh_days: 7                    # «refresh»
  # late_commit_seconds: 300         # «late»
  # index_lag_seconds: 120           # «lag»

tasks:
  systems: []                        # «systems»
  fallback_owner: {}                 # «fallback»

identity:
  order: []                          # «order»

signals: {}                          # «signals»

calendar:
  country: JP                        # «country»
  closures: []                       # «closures»

# «more»

# pair: {salesforce: salesforce, hubspot: hubspot, tasks: salesforce}   # «pair»
# state_key: {file: /run/secrets/mikomi-state-key}   # «state-key»

# guards:                            # «guards»
#   emptied: 20                      # «emptied»
#   written: 50                      # «written»
#   moved: 10                        # «moved»
#   offered: 20                      # «offered»
#   least: 20                        # «least»
#   allow: []                        # «allow»

# schedule:                          # «schedule»
#   cycle: 5m                        # «cycle»
#   sweep: 24h                       # «sweep»
#   reconcile: 0 4 * * sun           # «reconcile»
#   backup: never                    # «backup»
#   backup_folder: backups           # «backup-folder»
#   keep_backups: 7                  # «keep-backups»

# retention:                         # «retention»
#   activities: 1825                 # «activities»
#   deleted: 30                      # «deleted»
#   runs: 400                        # «runs»

# log:                               # «log»
#   level: info                      # debug | info | warning | error
#   file: null                       # «log-file»
#   format: json                     # json | text
"""

_COMMENTS: Mapping[str, Mapping[str, str]] = {
    "ja": {
        "title": "Mikomi の設定。どのキーも環境変数 MIKOMI_<キー> で上書きできます(入れ子は __ で区切ります)。",
        "secrets-1": "秘密情報はこのファイルに書きません。環境変数で渡します:",
        "secrets-2": "  MIKOMI_SALESFORCE_CLIENT_SECRET, MIKOMI_HUBSPOT_TOKEN(または {env: …} {file: …} {keyring: …} で指定)",
        "state": "状態を置くデータベース。相対パスはこのファイルのフォルダから",
        "timezone": "日付の基準となるタイムゾーン。ルールブックと同じにします",
        "language": "理由・タスク・項目ラベルの言語: ja または en",
        "rulebook": "配点のルール。このファイルのフォルダから",
        "stage-1": "導入の段階: observe = 読み取りと採点だけ(CRMに何も書きません) → fields = スコア項目を書く → all = 引き渡しタスクも作る",
        "stage-2": "fields にする前に `mikomi setup --plan`(確認)と `mikomi setup --apply`(項目の作成)を実行します。",
        "connection-name": "接続の名前(自由に付けられます。あとから変えないでください)",
        "sf-auth": "認証: Salesforce の接続アプリ(外部クライアントアプリ)で「クライアントログイン情報フロー」を有効にします。",
        "sf-login": "★ 自社の「私のドメイン」に変更: https://<自社>.my.salesforce.com",
        "sf-client": "★ コンシューマー鍵",
        "sf-secret": "環境変数を使わない場合",
        "sf-username": "jwt のときに必要",
        "sf-setup": "setup だけが使う管理者のトークン(連携ユーザーが項目を作れない場合)",
        "fields": "all、または minimal(項目数の少ないエディション向けの6項目)",
        "sf-quota": "組織全体の1日のAPI使用率がこの%を超えたら待ちます",
        "sf-calls": "Mikomi 自身の24時間あたりの上限",
        "hs-calls": "Mikomi 自身の1日あたりの上限",
        "lookback": "毎回この分だけさかのぼって読み直します(遅れて見える行のため)",
        "settle": "現在時刻のこの秒数手前までを読みます",
        "timeout": "1回の呼び出しを待つ秒数",
        "mapping": "標準以外の項目を使う場合(既定の対応に上書き)",
        "hs-token": "非公開アプリのトークン。省略すると MIKOMI_HUBSPOT_TOKEN",
        "hs-linked": "HubSpot の Salesforce 連携でつながっている接続名。なければ null",
        "hs-quota": "ポータル全体の1日の使用率がこの%を超えたら待ちます",
        "deliver": "変わったスコアをいつCRMに書くか(ランク・理由・引き渡しの変化は常に書きます)",
        "delta": "この点数以上動いたら書く",
        "refresh": "小さな変化も、この日数に1度は書く",
        "systems": "タスクを作る接続の優先順。空 = Salesforce にいる人は Salesforce、ほかは HubSpot",
        "fallback": "担当者が無効な場合の引き受け手: {salesforce: leader@your-company.example}",
        "order": "属性が食い違うとき信じる順: [salesforce/contact, salesforce/lead, hubspot/contact](空 = この順)",
        "signals": "両方のCRMに同じ行動があるとき数える側: {webinar_attend: hubspot}",
        "country": "次営業日を数える祝日の国",
        "closures": "会社の休業日: [2026-12-29, 2026-12-30]",
        "hs-setup": "setup だけが使う管理者のトークン(連携アプリがプロパティを作れない場合)",
        "hs-burst": "10秒あたりの上限のうち Mikomi が使う割合(%)",
        "late": "応答のなかった書き込みが、あとから実行されうる時間(秒)",
        "lag": "書き込んだものが検索に現れるまでの時間(秒)",
        "more": "以下は必要な場合だけ # を外してください。数値などは既定値です。",
        "pair": "HubSpot の Salesforce 連携でつながる2つ。タスクは1つのシステムだけに作ります",
        "state-key": "更新されたトークンを暗号化する鍵。なければ MIKOMI_STATE_KEY、次に状態データベースの隣の .key ファイル",
        "guards": "被害が出る前に止める基準。止まったら `mikomi sync --allow 名前` で許可できます",
        "emptied": "CRM から一度に消えたレコードの割合(%)",
        "written": "ルールブックが同じまま、1回の同期で書き込むレコードの割合(%)",
        "moved": "ルールブックの変更でランクが変わる人の割合(%)",
        "offered": "1回の同期で引き渡す件数(1日平均の5倍のほうが多ければ、その件数)",
        "least": "この人数・件数以下では止めません",
        "allow": "許可済みのもの(停止時に表示される名前)",
        "schedule": "`mikomi serve` の予定(上記のタイムゾーン)。間隔(90s, 5m, 1h)または cron の5項目",
        "cycle": "同期",
        "sweep": "削除の確認",
        "reconcile": "CRM との照合。never = 行わない",
        "backup": "例: 0 3 * * *",
        "backup-folder": "このファイルのフォルダから",
        "keep-backups": "残す世代数",
        "retention": "人に関するデータの保存日数",
        "activities": "活動と属性の変更履歴",
        "deleted": "CRM で削除された人(ごみ箱から戻る可能性がある間)",
        "runs": "実行記録",
        "log": "個人情報を含まないログ。1行に1件",
        "log-file": "ファイル名(0600、自動で切り替え)。null = 標準エラー出力",
    },
    "en": {
        "title": "Mikomi's settings. Every key can be overridden by the variable MIKOMI_<KEY> (nested keys with __).",
        "secrets-1": "Secrets do not belong into this file. Give them in the environment:",
        "secrets-2": "  MIKOMI_SALESFORCE_CLIENT_SECRET, MIKOMI_HUBSPOT_TOKEN (or name {env: …}, {file: …}, {keyring: …})",
        "state": "the state database; a relative path starts at this file's folder",
        "timezone": "whose days are counted; the rulebook must name the same",
        "language": "of reasons, tasks and field labels: ja or en",
        "rulebook": "the scoring rules; the path starts at this file's folder",
        "stage-1": "Roll-out: observe = read and score only (nothing is written) -> fields = write score fields -> all = hand-over tasks too",
        "stage-2": "Before `fields`, run `mikomi setup --plan` (look) and `mikomi setup --apply` (create the fields).",
        "connection-name": "the connection's name: your choice, but never change it later",
        "sf-auth": "Sign-in: enable the client credentials flow of a connected app (external client app) in Salesforce.",
        "sf-login": "★ replace by your My Domain: https://<yours>.my.salesforce.com",
        "sf-client": "★ the consumer key",
        "sf-secret": "instead of the environment variable",
        "sf-username": "needed for jwt",
        "sf-setup": "an administrator's token, used by setup alone, where the integration user may not create fields",
        "fields": "all, or minimal (six fields, for editions with few custom fields)",
        "sf-quota": "wait when the whole org has used this share of its daily calls",
        "sf-calls": "Mikomi's own calls in 24 hours",
        "hs-calls": "Mikomi's own calls in a day",
        "lookback": "reach back this far every time, for rows that become visible late",
        "settle": "read up to this many seconds before now",
        "timeout": "seconds to wait for one call",
        "mapping": "fields of your own, laid over the default mapping",
        "hs-token": "private-app token; MIKOMI_HUBSPOT_TOKEN if left out",
        "hs-linked": "the connection that HubSpot's native Salesforce sync joins to; null if there is none",
        "hs-quota": "wait when the whole portal has used this share of its daily calls",
        "deliver": "When a changed score is written (a change of band, reasons or hand-over always is)",
        "delta": "points of difference that are worth a write",
        "refresh": "write smaller differences at least this often",
        "systems": "order of connections for tasks; empty = Salesforce for people known there, HubSpot for the others",
        "fallback": "who takes tasks where the owner is inactive: {salesforce: leader@your-company.example}",
        "order": "whom to believe on attributes: [salesforce/contact, salesforce/lead, hubspot/contact] (empty = this order)",
        "signals": "which side counts when both CRMs show an act: {webinar_attend: hubspot}",
        "country": "whose public holidays are no working days",
        "closures": "your company's days off: [2026-12-29, 2026-12-30]",
        "hs-setup": "an administrator's token, used by setup alone, where the app that syncs may not create properties",
        "hs-burst": "Mikomi's part of the limit per ten seconds",
        "late": "a write without an answer may still be carried out for so long",
        "lag": "a search may miss what was written within so many seconds",
        "more": "Only where you need it: take away the # of a block. What is shown are the defaults.",
        "pair": "joined by HubSpot's native sync: tasks stand in one system only",
        "state-key": "seals renewed tokens; else MIKOMI_STATE_KEY, else the .key file beside the database",
        "guards": "what stops before harm; `mikomi sync --allow NAME` lets it pass",
        "emptied": "percent of a connection's records gone at once",
        "written": "percent of records written in one pass without a new rulebook",
        "moved": "percent of people whom a changed rulebook would move to another band",
        "offered": "hand-overs in one pass (or five times the daily average, if that is more)",
        "least": "up to so many people or records nothing is stopped",
        "allow": "what is confirmed, by the names that the stops give",
        "schedule": "of `mikomi serve`, in the time zone above: an interval (90s, 5m, 1h) or five cron fields",
        "cycle": "a pass",
        "sweep": "look for deletions",
        "reconcile": "compare both sides; never = don't",
        "backup": "for example 0 3 * * *",
        "backup-folder": "starts at this file's folder",
        "keep-backups": "older ones are removed",
        "retention": "days for which facts about people are kept",
        "activities": "activities and attribute history",
        "deleted": "people deleted in the CRM, who may still come back from its bin",
        "runs": "reports of runs",
        "log": "one event a line, without personal data",
        "log-file": "a file (0600, rotated); null = standard error",
    },
}
"""Comments of the settings file by language: name of the place to comment."""
