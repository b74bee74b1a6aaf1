"""Word lists of the market: surnames, given names, company words, places, titles. Common words, no real persons or firms.

Each list is a tuple of tuples: (written form, kana, romaji) for names, (ja, en) for titles and departments.
"""


def _triples(text: str) -> tuple[tuple[str, str, str], ...]:
    rows = (entry.split("/") for entry in text.split())
    return tuple((row[0], row[1], row[2]) for row in rows)


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    rows = (entry.split("/") for entry in text.split())
    return tuple((row[0], row[1]) for row in rows)


SURNAMES: tuple[tuple[str, str, str], ...] = _triples(
    """
    佐藤/サトウ/sato 鈴木/スズキ/suzuki 高橋/タカハシ/takahashi 田中/タナカ/tanaka 伊藤/イトウ/ito
    渡辺/ワタナベ/watanabe 山本/ヤマモト/yamamoto 中村/ナカムラ/nakamura 小林/コバヤシ/kobayashi
    加藤/カトウ/kato 吉田/ヨシダ/yoshida 山田/ヤマダ/yamada 佐々木/ササキ/sasaki
    山口/ヤマグチ/yamaguchi 松本/マツモト/matsumoto 井上/イノウエ/inoue 木村/キムラ/kimura
    林/ハヤシ/hayashi 斎藤/サイトウ/saito 清水/シミズ/shimizu 山崎/ヤマザキ/yamazaki
    森/モリ/mori 池田/イケダ/ikeda 橋本/ハシモト/hashimoto 阿部/アベ/abe 石川/イシカワ/ishikawa
    山下/ヤマシタ/yamashita 中島/ナカジマ/nakajima 前田/マエダ/maeda 小川/オガワ/ogawa
    藤田/フジタ/fujita 岡田/オカダ/okada 後藤/ゴトウ/goto 長谷川/ハセガワ/hasegawa
    村上/ムラカミ/murakami 近藤/コンドウ/kondo 石井/イシイ/ishii 坂本/サカモト/sakamoto
    遠藤/エンドウ/endo 青木/アオキ/aoki 藤井/フジイ/fujii 西村/ニシムラ/nishimura
    福田/フクダ/fukuda 太田/オオタ/ota 三浦/ミウラ/miura 岡本/オカモト/okamoto 松田/マツダ/matsuda
    中川/ナカガワ/nakagawa 中野/ナカノ/nakano 原田/ハラダ/harada 小野/オノ/ono
    竹内/タケウチ/takeuchi 金子/カネコ/kaneko 和田/ワダ/wada 中山/ナカヤマ/nakayama
    石田/イシダ/ishida 上田/ウエダ/ueda 森田/モリタ/morita 原/ハラ/hara 柴田/シバタ/shibata
    酒井/サカイ/sakai 工藤/クドウ/kudo 横山/ヨコヤマ/yokoyama 宮崎/ミヤザキ/miyazaki
    宮本/ミヤモト/miyamoto 内田/ウチダ/uchida 高木/タカギ/takagi 安藤/アンドウ/ando
    谷口/タニグチ/taniguchi 大野/オオノ/ono 丸山/マルヤマ/maruyama 今井/イマイ/imai
    髙田/タカダ/takada 藤本/フジモト/fujimoto 武田/タケダ/takeda 村田/ムラタ/murata
    上野/ウエノ/ueno 杉山/スギヤマ/sugiyama
    """
)

GIVEN_NAMES: tuple[tuple[str, str, str], ...] = _triples(
    """
    健一/ケンイチ/kenichi 誠/マコト/makoto 浩/ヒロシ/hiroshi 隆/タカシ/takashi
    直樹/ナオキ/naoki 大輔/ダイスケ/daisuke 翔太/ショウタ/shota 拓也/タクヤ/takuya
    健太/ケンタ/kenta 剛/ツヨシ/tsuyoshi 和彦/カズヒコ/kazuhiko 修/オサム/osamu
    哲也/テツヤ/tetsuya 博之/ヒロユキ/hiroyuki 正樹/マサキ/masaki 雄一/ユウイチ/yuichi
    達也/タツヤ/tatsuya 亮/リョウ/ryo 学/マナブ/manabu 進/ススム/susumu 茂/シゲル/shigeru
    聡/サトシ/satoshi 徹/トオル/toru 康弘/ヤスヒロ/yasuhiro 蓮/レン/ren 悠真/ユウマ/yuma
    陽介/ヨウスケ/yosuke 智也/トモヤ/tomoya 圭介/ケイスケ/keisuke 賢治/ケンジ/kenji
    由美子/ユミコ/yumiko 恵子/ケイコ/keiko 真由美/マユミ/mayumi 陽子/ヨウコ/yoko 美咲/ミサキ/misaki
    愛/アイ/ai 彩/アヤ/aya 裕子/ユウコ/yuko 久美子/クミコ/kumiko 智子/トモコ/tomoko
    香織/カオリ/kaori 明美/アケミ/akemi 直美/ナオミ/naomi 千尋/チヒロ/chihiro さくら/サクラ/sakura
    結衣/ユイ/yui 舞/マイ/mai 麻衣/マイ/mai 典子/ノリコ/noriko 京子/キョウコ/kyoko 美穂/ミホ/miho
    奈緒/ナオ/nao 遥/ハルカ/haruka 葵/アオイ/aoi
    """
)

# Company stems: three lists are combined, so 446,400 firms bear different names.
STEM_A: tuple[tuple[str, str], ...] = _pairs(
    """
    青/ao 緑/midori 紅/kurenai 白/shira 蒼/sou 翠/sui 銀/gin 琥/ko 瑠/ru 玄/gen
    明/mei 暁/gyo 朝/asa 夕/yu 春/haru 夏/natsu 秋/aki 冬/fuyu 雪/yuki 風/kaze
    雲/kumo 星/hoshi 月/tsuki 陽/you 泉/izumi 潮/shio 霧/kiri 虹/niji 桐/kiri
    楓/kaede
    """
)
STEM_B: tuple[tuple[str, str], ...] = _pairs(
    """
    嶺/mine 浜/hama 原/hara 沢/sawa 森/mori 岬/misaki 峰/mine 瀬/se 野/no 丘/oka
    里/sato 谷/tani 島/jima 橋/bashi 川/kawa 池/ike 洲/su 坂/saka 越/goe 垣/gaki
    牧/maki 砂/suna 岩/iwa 杜/mori 澄/sumi 凪/nagi 渚/nagisa 郷/go 塚/zuka 苑/en
    """
)
STEM_C: tuple[tuple[str, str], ...] = (
    ("", ""),
    *_pairs(
        """
    第一/daiichi 新/shin 東/azuma 西/nishi 南/minami 北/kita 中央/chuo 総合/sogo
    協和/kyowa 共栄/kyoei 太洋/taiyo 明和/meiwa
    三友/sanyu 栄光/eiko 丸/maru
    """
    ),
)
STEM_D: tuple[tuple[str, str], ...] = (
    ("", ""),
    *_pairs(
        """
    北海/hokkai 奥羽/ou 関東/kanto 北陸/hokuriku 東海/tokai 近畿/kinki 山陽/sanyo
    四国/shikoku 九州/kyushu 両毛/ryomo 湘南/shonan 甲信/koshin 三河/mikawa
    播磨/harima 筑紫/chikushi 薩摩/satsuma 房総/boso 武蔵/musashi 常陸/hitachino
    駿河/suruga 尾張/owari 丹波/tanba 摂津/settsu 讃岐/sanuki 伊予/iyo 土佐/tosa
    豊後/bungo 肥後/higo 日向/hyuga 琉球/ryukyu
    """
    ),
)

# Industry: (key, Salesforce value, HubSpot value, words ja/en, target of the seller?, weight)
INDUSTRIES: tuple[tuple[str, str, str, tuple[tuple[str, str], ...], bool, float], ...] = (
    (
        "manufacturing",
        "Manufacturing",
        "MACHINERY",
        (
            ("精機", "Precision"),
            ("工業", "Industries"),
            ("製作所", "Works"),
            ("電機", "Electric"),
            ("化学", "Chemical"),
        ),
        True,
        0.32,
    ),
    (
        "it",
        "Technology",
        "INFORMATION_TECHNOLOGY_AND_SERVICES",
        (("システム", "Systems"), ("ソフトウェア", "Software"), ("情報サービス", "Information"), ("テック", "Tech")),
        True,
        0.18,
    ),
    (
        "logistics",
        "Transportation",
        "LOGISTICS_AND_SUPPLY_CHAIN",
        (("物流", "Logistics"), ("運輸", "Transport"), ("倉庫", "Warehouse")),
        True,
        0.12,
    ),
    (
        "wholesale",
        "Retail",
        "WHOLESALE",
        (("商事", "Trading"), ("産業", "Sangyo"), ("商会", "Shokai")),
        False,
        0.14,
    ),
    (
        "construction",
        "Construction",
        "CONSTRUCTION",
        (("建設", "Construction"), ("工務店", "Builders"), ("設備", "Facilities")),
        False,
        0.12,
    ),
    (
        "finance",
        "Finance",
        "FINANCIAL_SERVICES",
        (("信用保証", "Credit"), ("リース", "Leasing"), ("ファイナンス", "Finance")),
        False,
        0.05,
    ),
    (
        "healthcare",
        "Healthcare",
        "HOSPITAL_HEALTH_CARE",
        (("メディカル", "Medical"), ("医療機器", "Medical Devices"), ("薬品", "Pharma")),
        False,
        0.07,
    ),
)

# Rank: the seven ordered ranks, lowest first, with the titles people really print on their cards.
TITLES: dict[str, tuple[tuple[str, str], ...]] = {
    "staff": (("担当", "Staff"), ("", ""), ("一般", "Associate"), ("スタッフ", "Staff"), ("技術員", "Engineer")),
    "leader": (("係長", "Team Leader"), ("主任", "Senior Staff"), ("リーダー", "Leader"), ("主査", "Supervisor")),
    "section_manager": (
        ("課長", "Manager"),
        ("課長代理", "Acting Manager"),
        ("マネージャー", "Manager"),
        ("室長", "Section Head"),
    ),
    "deputy_general_manager": (("次長", "Deputy General Manager"), ("副部長", "Deputy General Manager")),
    "general_manager": (("部長", "General Manager"), ("工場長", "Plant Manager"), ("支店長", "Branch Manager")),
    "director": (("本部長", "Director"), ("事業部長", "Division Director"), ("執行役員", "Executive Officer")),
    "executive": (
        ("代表取締役", "CEO"),
        ("代表取締役社長", "President"),
        ("取締役", "Director of the Board"),
        ("常務取締役", "Managing Director"),
    ),
}
DEPARTMENTS: tuple[tuple[str, str], ...] = (
    ("情報システム部", "IT"),
    ("経営企画部", "Corporate Planning"),
    ("生産技術部", "Production Engineering"),
    ("営業部", "Sales"),
    ("購買部", "Purchasing"),
    ("総務部", "General Affairs"),
    ("製造部", "Manufacturing"),
    ("マーケティング部", "Marketing"),
)

# (prefecture, city, city in Latin letters); plants stand elsewhere than head offices
PLACES: tuple[tuple[str, str, str], ...] = (
    ("東京都", "千代田区", "Chiyoda"),
    ("東京都", "品川区", "Shinagawa"),
    ("大阪府", "大阪市", "Osaka"),
    ("愛知県", "名古屋市", "Nagoya"),
    ("神奈川県", "横浜市", "Yokohama"),
    ("福岡県", "福岡市", "Fukuoka"),
    ("北海道", "札幌市", "Sapporo"),
    ("宮城県", "仙台市", "Sendai"),
    ("広島県", "広島市", "Hiroshima"),
    ("静岡県", "浜松市", "Hamamatsu"),
    ("長野県", "松本市", "Matsumoto"),
    ("兵庫県", "神戸市", "Kobe"),
)
PLANTS: tuple[str, ...] = ("浜松工場", "四日市工場", "仙台工場", "北九州工場", "富山工場", "宇都宮工場")

LOSS_REASONS: tuple[tuple[str, str], ...] = (
    ("競合に決定", "Competitor"),
    ("予算なし", "No Budget"),
    ("時期尚早", "Too Early"),
    ("決裁が下りず", "No Decision"),
    ("要件不一致", "No Fit"),
)
