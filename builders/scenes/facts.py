"""Text-only facts: what an edit of an image must leave alone. Common knowledge, written down for this project."""

from __future__ import annotations

_CAPITALS = """
France Paris; Italy Rome; Spain Madrid; Germany Berlin; Austria Vienna; Greece Athens; Portugal Lisbon; Ireland
Dublin; Norway Oslo; Sweden Stockholm; Finland Helsinki; Denmark Copenhagen; Poland Warsaw; Hungary Budapest; Belgium
Brussels; Iceland Reykjavik; Russia Moscow; Ukraine Kyiv; Romania Bucharest; Bulgaria Sofia; Serbia Belgrade; Croatia
Zagreb; Slovakia Bratislava; Slovenia Ljubljana; Estonia Tallinn; Latvia Riga; Lithuania Vilnius; Albania Tirana;
Malta Valletta; Cyprus Nicosia; Switzerland Bern; Netherlands Amsterdam; Turkey Ankara; Egypt Cairo; Morocco Rabat;
Tunisia Tunis; Algeria Algiers; Libya Tripoli; Sudan Khartoum; Kenya Nairobi; Uganda Kampala; Ghana Accra; Nigeria
Abuja; Senegal Dakar; Mali Bamako; Angola Luanda; Zambia Lusaka; Zimbabwe Harare; Namibia Windhoek; Rwanda Kigali;
Somalia Mogadishu; Madagascar Antananarivo; Mozambique Maputo; Botswana Gaborone; Israel Jerusalem; Jordan Amman;
Lebanon Beirut; Syria Damascus; Iraq Baghdad; Iran Tehran; Qatar Doha; Oman Muscat; Yemen Sanaa; India Delhi; Pakistan
Islamabad; Nepal Kathmandu; Bangladesh Dhaka; Bhutan Thimphu; China Beijing; Japan Tokyo; Mongolia Ulaanbaatar;
Thailand Bangkok; Vietnam Hanoi; Laos Vientiane; Malaysia Putrajaya; Indonesia Jakarta; Philippines Manila; Australia
Canberra; Fiji Suva; Canada Ottawa; Mexico Mexico; Cuba Havana; Jamaica Kingston; Haiti Port; Panama Panama; Honduras
Tegucigalpa; Nicaragua Managua; Colombia Bogota; Venezuela Caracas; Ecuador Quito; Peru Lima; Chile Santiago;
Argentina Buenos; Uruguay Montevideo; Paraguay Asuncion; Bolivia Sucre; Brazil Brasilia; Armenia Yerevan; Georgia
Tbilisi; Azerbaijan Baku; Kazakhstan Astana; Uzbekistan Tashkent; Afghanistan Kabul
"""
_SYMBOLS = """
hydrogen H; helium He; lithium Li; carbon C; nitrogen N; oxygen O; fluorine F; neon Ne; sodium Na; magnesium Mg;
aluminium Al; silicon Si; phosphorus P; sulfur S; chlorine Cl; argon Ar; potassium K; calcium Ca; titanium Ti;
chromium Cr; manganese Mn; iron Fe; cobalt Co; nickel Ni; copper Cu; zinc Zn; gallium Ga; arsenic As; bromine Br;
krypton Kr; silver Ag; cadmium Cd; tin Sn; iodine I; xenon Xe; barium Ba; tungsten W; platinum Pt; gold Au; mercury
Hg; lead Pb; bismuth Bi; radon Rn; radium Ra; uranium U; plutonium Pu
"""
_OPPOSITES = """
hot cold; big small; fast slow; early late; open closed; full empty; hard soft; light dark; young old; long short;
high low; near far; rich poor; strong weak; wet dry; happy sad; clean dirty; loud quiet; wide narrow; thick thin; deep
shallow; sharp blunt; sweet bitter; smooth rough; true false; first last; inside outside; before after; always never;
buy sell; give take; win lose; start stop; push pull; rise fall; love hate; friend enemy; war peace; summer winter;
north south; east west; day night
"""
_YOUNG = """
cow calf; horse foal; sheep lamb; goat kid; hen chick; duck duckling; goose gosling; swan cygnet; deer fawn; bear cub;
kangaroo joey; seal pup; hare leveret; eagle eaglet; salmon smolt; eel elver
"""
_CURRENCIES = """
Japan yen; China yuan; India rupee; Russia rouble; Poland zloty; Hungary forint; Thailand baht; Vietnam dong; Israel
shekel; Mexico peso; Brazil real; Sweden krona; Denmark krone; Switzerland franc; Nigeria naira; Ghana cedi; Kenya
shilling; Zambia kwacha; Mongolia tugrik; Bangladesh taka; Malaysia ringgit; Turkey lira; Germany euro; Ukraine
hryvnia; Georgia lari; Armenia dram; Peru sol; Qatar riyal; Jordan dinar
"""
_SPELLED = {
    "Haiti": "Port-au-Prince",
    "Argentina": "Buenos Aires",
    "Mexico": "Mexico City",
    "Panama": "Panama City",
}
_TABLES: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("What is the capital of {}?", _CAPITALS, _SPELLED),
    ("What is the chemical symbol of {}?", _SYMBOLS, {}),
    ("What is the opposite of {}?", _OPPOSITES, {}),
    ("What is the young of a {} called?", _YOUNG, {}),
    ("What money is used in {}?", _CURRENCIES, {}),
)


def facts() -> list[tuple[str, str]]:
    """(question, answer) pairs, in a fixed order."""
    pairs = []
    for question, table, spelled in _TABLES:
        for entry in table.split(";"):
            subject, answer = entry.split()
            pairs.append((question.format(subject), spelled.get(subject, answer)))
    return pairs


def facts_of(split: str) -> list[tuple[str, str]]:
    """The facts that a split asks: every third belongs to test, the others to train."""
    return [pair for number, pair in enumerate(facts()) if (number % 3 == 2) == (split == "test")]
