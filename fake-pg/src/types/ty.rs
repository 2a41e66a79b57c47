//! The types PostgreSQL has, by OID, and those its users made.
//!
//! All of `pg_type` but for row types of catalogs is listed, since resolving operators and functions
//! must see every candidate. Of which of them there are values is [`Type::has_values`]'s to say.
//! A user's type is a definition that is never freed and never changes: another version of it is
//! another definition with the same OID. Equal ones are kept once ([`UserType::intern`]).

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Mutex;

use super::Datum;
use crate::error::{PgError, SqlState};

/// One line per type: variant, OID, `typname`, the name `format_type` gives, `typlen`, `typcategory`,
/// `typispreferred`, element.
macro_rules! types {
    ($($variant:ident $oid:literal $name:literal $sql:literal $len:literal $category:literal $preferred:literal $element:expr;)*) => {
        /// A type of PostgreSQL, with its OID (`pg_type.dat`).
        #[derive(Clone, Copy, Debug)]
        #[allow(missing_docs)]
        pub enum Type {
            $($variant,)*
            /// A type that CREATE TYPE or CREATE DOMAIN made, or the array over one.
            User(&'static UserType),
        }

        impl Type {
            /// Every type that is built in.
            pub const ALL: &[Type] = &[$(Type::$variant,)*];

            /// Its OID in every PostgreSQL.
            pub fn oid(self) -> u32 {
                match self {
                    $(Type::$variant => $oid,)*
                    Type::User(user) => user.oid,
                }
            }

            /// The built-in type of that OID.
            pub fn from_oid(oid: u32) -> Option<Type> {
                match oid { $($oid => Some(Type::$variant),)* _ => None }
            }

            /// The built-in type of that name in `pg_type`.
            pub fn from_name(name: &str) -> Option<Type> {
                match name { $($name => Some(Type::$variant),)* _ => None }
            }

            /// `typname`, as in `pg_type`: `int4`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Type::$variant => $name,)*
                    Type::User(user) => &user.name,
                }
            }

            /// The name messages use: `integer`.
            pub fn sql_name(self) -> &'static str {
                match self {
                    $(Type::$variant => $sql,)*
                    Type::User(user) => &user.shown,
                }
            }

            /// `typlen`: bytes, -1 if it varies, -2 for a C string.
            #[allow(clippy::len_without_is_empty)] // A length of one value, not of a collection.
            pub fn len(self) -> i16 {
                match self {
                    $(Type::$variant => $len,)*
                    Type::User(user) => match &user.kind {
                        UserKind::Enum(_) => 4,
                        UserKind::Domain(domain) => domain.base.len(),
                        UserKind::Array(_) | UserKind::Composite(_) => -1,
                    },
                }
            }

            /// `typcategory`.
            pub fn category(self) -> char {
                match self {
                    $(Type::$variant => $category,)*
                    Type::User(user) => match &user.kind {
                        UserKind::Enum(_) => 'E',
                        UserKind::Domain(domain) => domain.base.category(),
                        UserKind::Array(_) => 'A',
                        UserKind::Composite(_) => 'C',
                    },
                }
            }

            /// `typispreferred`.
            pub fn is_preferred(self) -> bool {
                match self { $(Type::$variant => $preferred,)* Type::User(_) => false }
            }

            /// What an array is made of.
            pub fn element(self) -> Option<Type> {
                use Type::*;
                match self {
                    $($variant => $element,)*
                    User(user) => match user.kind {
                        UserKind::Array(element) => Some(element),
                        _ => None,
                    },
                }
            }
        }
    };
}

types! {
    Bool 16 "bool" "boolean" 1 'B' true None;
    Bytea 17 "bytea" "bytea" -1 'U' false None;
    Char 18 "char" "\"char\"" 1 'Z' false None;
    Name 19 "name" "name" 64 'S' false None;
    Int8 20 "int8" "bigint" 8 'N' false None;
    Int2 21 "int2" "smallint" 2 'N' false None;
    Int2vector 22 "int2vector" "int2vector" -1 'A' false Some(Int2);
    Int4 23 "int4" "integer" 4 'N' false None;
    Regproc 24 "regproc" "regproc" 4 'N' false None;
    Text 25 "text" "text" -1 'S' true None;
    Oid 26 "oid" "oid" 4 'N' true None;
    Tid 27 "tid" "tid" 6 'U' false None;
    Xid 28 "xid" "xid" 4 'U' false None;
    Cid 29 "cid" "cid" 4 'U' false None;
    Oidvector 30 "oidvector" "oidvector" -1 'A' false Some(Oid);
    PgDdlCommand 32 "pg_ddl_command" "pg_ddl_command" 8 'P' false None;
    Json 114 "json" "json" -1 'U' false None;
    Xml 142 "xml" "xml" -1 'U' false None;
    XmlArray 143 "_xml" "xml[]" -1 'A' false Some(Xml);
    PgNodeTree 194 "pg_node_tree" "pg_node_tree" -1 'Z' false None;
    JsonArray 199 "_json" "json[]" -1 'A' false Some(Json);
    TableAmHandler 269 "table_am_handler" "table_am_handler" 4 'P' false None;
    Xid8Array 271 "_xid8" "xid8[]" -1 'A' false Some(Xid8);
    IndexAmHandler 325 "index_am_handler" "index_am_handler" 4 'P' false None;
    Point 600 "point" "point" 16 'G' false None;
    Lseg 601 "lseg" "lseg" 32 'G' false None;
    Path 602 "path" "path" -1 'G' false None;
    Box 603 "box" "box" 32 'G' false None;
    Polygon 604 "polygon" "polygon" -1 'G' false None;
    Line 628 "line" "line" 24 'G' false None;
    LineArray 629 "_line" "line[]" -1 'A' false Some(Line);
    Cidr 650 "cidr" "cidr" -1 'I' false None;
    CidrArray 651 "_cidr" "cidr[]" -1 'A' false Some(Cidr);
    Float4 700 "float4" "real" 4 'N' false None;
    Float8 701 "float8" "double precision" 8 'N' true None;
    Unknown 705 "unknown" "unknown" -2 'X' false None;
    Circle 718 "circle" "circle" 24 'G' false None;
    CircleArray 719 "_circle" "circle[]" -1 'A' false Some(Circle);
    Macaddr8 774 "macaddr8" "macaddr8" 8 'U' false None;
    Macaddr8Array 775 "_macaddr8" "macaddr8[]" -1 'A' false Some(Macaddr8);
    Money 790 "money" "money" 8 'N' false None;
    MoneyArray 791 "_money" "money[]" -1 'A' false Some(Money);
    Macaddr 829 "macaddr" "macaddr" 6 'U' false None;
    Inet 869 "inet" "inet" -1 'I' true None;
    BoolArray 1000 "_bool" "boolean[]" -1 'A' false Some(Bool);
    ByteaArray 1001 "_bytea" "bytea[]" -1 'A' false Some(Bytea);
    CharArray 1002 "_char" "\"char\"[]" -1 'A' false Some(Char);
    NameArray 1003 "_name" "name[]" -1 'A' false Some(Name);
    Int2Array 1005 "_int2" "smallint[]" -1 'A' false Some(Int2);
    Int2vectorArray 1006 "_int2vector" "int2vector[]" -1 'A' false Some(Int2vector);
    Int4Array 1007 "_int4" "integer[]" -1 'A' false Some(Int4);
    RegprocArray 1008 "_regproc" "regproc[]" -1 'A' false Some(Regproc);
    TextArray 1009 "_text" "text[]" -1 'A' false Some(Text);
    TidArray 1010 "_tid" "tid[]" -1 'A' false Some(Tid);
    XidArray 1011 "_xid" "xid[]" -1 'A' false Some(Xid);
    CidArray 1012 "_cid" "cid[]" -1 'A' false Some(Cid);
    OidvectorArray 1013 "_oidvector" "oidvector[]" -1 'A' false Some(Oidvector);
    BpcharArray 1014 "_bpchar" "character[]" -1 'A' false Some(Bpchar);
    VarcharArray 1015 "_varchar" "character varying[]" -1 'A' false Some(Varchar);
    Int8Array 1016 "_int8" "bigint[]" -1 'A' false Some(Int8);
    PointArray 1017 "_point" "point[]" -1 'A' false Some(Point);
    LsegArray 1018 "_lseg" "lseg[]" -1 'A' false Some(Lseg);
    PathArray 1019 "_path" "path[]" -1 'A' false Some(Path);
    BoxArray 1020 "_box" "box[]" -1 'A' false Some(Box);
    Float4Array 1021 "_float4" "real[]" -1 'A' false Some(Float4);
    Float8Array 1022 "_float8" "double precision[]" -1 'A' false Some(Float8);
    PolygonArray 1027 "_polygon" "polygon[]" -1 'A' false Some(Polygon);
    OidArray 1028 "_oid" "oid[]" -1 'A' false Some(Oid);
    Aclitem 1033 "aclitem" "aclitem" 12 'U' false None;
    AclitemArray 1034 "_aclitem" "aclitem[]" -1 'A' false Some(Aclitem);
    MacaddrArray 1040 "_macaddr" "macaddr[]" -1 'A' false Some(Macaddr);
    InetArray 1041 "_inet" "inet[]" -1 'A' false Some(Inet);
    Bpchar 1042 "bpchar" "character" -1 'S' false None;
    Varchar 1043 "varchar" "character varying" -1 'S' false None;
    Date 1082 "date" "date" 4 'D' false None;
    Time 1083 "time" "time without time zone" 8 'D' false None;
    Timestamp 1114 "timestamp" "timestamp without time zone" 8 'D' false None;
    TimestampArray 1115 "_timestamp" "timestamp without time zone[]" -1 'A' false Some(Timestamp);
    DateArray 1182 "_date" "date[]" -1 'A' false Some(Date);
    TimeArray 1183 "_time" "time without time zone[]" -1 'A' false Some(Time);
    Timestamptz 1184 "timestamptz" "timestamp with time zone" 8 'D' true None;
    TimestamptzArray 1185 "_timestamptz" "timestamp with time zone[]" -1 'A' false Some(Timestamptz);
    Interval 1186 "interval" "interval" 16 'T' true None;
    IntervalArray 1187 "_interval" "interval[]" -1 'A' false Some(Interval);
    NumericArray 1231 "_numeric" "numeric[]" -1 'A' false Some(Numeric);
    CstringArray 1263 "_cstring" "cstring[]" -1 'A' false Some(Cstring);
    Timetz 1266 "timetz" "time with time zone" 12 'D' false None;
    TimetzArray 1270 "_timetz" "time with time zone[]" -1 'A' false Some(Timetz);
    Bit 1560 "bit" "bit" -1 'V' false None;
    BitArray 1561 "_bit" "bit[]" -1 'A' false Some(Bit);
    Varbit 1562 "varbit" "bit varying" -1 'V' true None;
    VarbitArray 1563 "_varbit" "bit varying[]" -1 'A' false Some(Varbit);
    Numeric 1700 "numeric" "numeric" -1 'N' false None;
    Refcursor 1790 "refcursor" "refcursor" -1 'U' false None;
    RefcursorArray 2201 "_refcursor" "refcursor[]" -1 'A' false Some(Refcursor);
    Regprocedure 2202 "regprocedure" "regprocedure" 4 'N' false None;
    Regoper 2203 "regoper" "regoper" 4 'N' false None;
    Regoperator 2204 "regoperator" "regoperator" 4 'N' false None;
    Regclass 2205 "regclass" "regclass" 4 'N' false None;
    Regtype 2206 "regtype" "regtype" 4 'N' false None;
    RegprocedureArray 2207 "_regprocedure" "regprocedure[]" -1 'A' false Some(Regprocedure);
    RegoperArray 2208 "_regoper" "regoper[]" -1 'A' false Some(Regoper);
    RegoperatorArray 2209 "_regoperator" "regoperator[]" -1 'A' false Some(Regoperator);
    RegclassArray 2210 "_regclass" "regclass[]" -1 'A' false Some(Regclass);
    RegtypeArray 2211 "_regtype" "regtype[]" -1 'A' false Some(Regtype);
    Record 2249 "record" "record" -1 'P' false None;
    Cstring 2275 "cstring" "cstring" -2 'P' false None;
    Any 2276 "any" "\"any\"" 4 'P' false None;
    Anyarray 2277 "anyarray" "anyarray" -1 'P' false None;
    Void 2278 "void" "void" 4 'P' false None;
    Trigger 2279 "trigger" "trigger" 4 'P' false None;
    LanguageHandler 2280 "language_handler" "language_handler" 4 'P' false None;
    Internal 2281 "internal" "internal" 8 'P' false None;
    Anyelement 2283 "anyelement" "anyelement" 4 'P' false None;
    RecordArray 2287 "_record" "record[]" -1 'P' false None;
    Anynonarray 2776 "anynonarray" "anynonarray" 4 'P' false None;
    TxidSnapshotArray 2949 "_txid_snapshot" "txid_snapshot[]" -1 'A' false Some(TxidSnapshot);
    Uuid 2950 "uuid" "uuid" 16 'U' false None;
    UuidArray 2951 "_uuid" "uuid[]" -1 'A' false Some(Uuid);
    TxidSnapshot 2970 "txid_snapshot" "txid_snapshot" -1 'U' false None;
    FdwHandler 3115 "fdw_handler" "fdw_handler" 4 'P' false None;
    PgLsn 3220 "pg_lsn" "pg_lsn" 8 'U' false None;
    PgLsnArray 3221 "_pg_lsn" "pg_lsn[]" -1 'A' false Some(PgLsn);
    TsmHandler 3310 "tsm_handler" "tsm_handler" 4 'P' false None;
    PgNdistinct 3361 "pg_ndistinct" "pg_ndistinct" -1 'Z' false None;
    PgDependencies 3402 "pg_dependencies" "pg_dependencies" -1 'Z' false None;
    Anyenum 3500 "anyenum" "anyenum" 4 'P' false None;
    Tsvector 3614 "tsvector" "tsvector" -1 'U' false None;
    Tsquery 3615 "tsquery" "tsquery" -1 'U' false None;
    Gtsvector 3642 "gtsvector" "gtsvector" -1 'U' false None;
    TsvectorArray 3643 "_tsvector" "tsvector[]" -1 'A' false Some(Tsvector);
    GtsvectorArray 3644 "_gtsvector" "gtsvector[]" -1 'A' false Some(Gtsvector);
    TsqueryArray 3645 "_tsquery" "tsquery[]" -1 'A' false Some(Tsquery);
    Regconfig 3734 "regconfig" "regconfig" 4 'N' false None;
    RegconfigArray 3735 "_regconfig" "regconfig[]" -1 'A' false Some(Regconfig);
    Regdictionary 3769 "regdictionary" "regdictionary" 4 'N' false None;
    RegdictionaryArray 3770 "_regdictionary" "regdictionary[]" -1 'A' false Some(Regdictionary);
    Jsonb 3802 "jsonb" "jsonb" -1 'U' false None;
    JsonbArray 3807 "_jsonb" "jsonb[]" -1 'A' false Some(Jsonb);
    Anyrange 3831 "anyrange" "anyrange" -1 'P' false None;
    EventTrigger 3838 "event_trigger" "event_trigger" 4 'P' false None;
    Int4range 3904 "int4range" "int4range" -1 'R' false None;
    Int4rangeArray 3905 "_int4range" "int4range[]" -1 'A' false Some(Int4range);
    Numrange 3906 "numrange" "numrange" -1 'R' false None;
    NumrangeArray 3907 "_numrange" "numrange[]" -1 'A' false Some(Numrange);
    Tsrange 3908 "tsrange" "tsrange" -1 'R' false None;
    TsrangeArray 3909 "_tsrange" "tsrange[]" -1 'A' false Some(Tsrange);
    Tstzrange 3910 "tstzrange" "tstzrange" -1 'R' false None;
    TstzrangeArray 3911 "_tstzrange" "tstzrange[]" -1 'A' false Some(Tstzrange);
    Daterange 3912 "daterange" "daterange" -1 'R' false None;
    DaterangeArray 3913 "_daterange" "daterange[]" -1 'A' false Some(Daterange);
    Int8range 3926 "int8range" "int8range" -1 'R' false None;
    Int8rangeArray 3927 "_int8range" "int8range[]" -1 'A' false Some(Int8range);
    Jsonpath 4072 "jsonpath" "jsonpath" -1 'U' false None;
    JsonpathArray 4073 "_jsonpath" "jsonpath[]" -1 'A' false Some(Jsonpath);
    Regnamespace 4089 "regnamespace" "regnamespace" 4 'N' false None;
    RegnamespaceArray 4090 "_regnamespace" "regnamespace[]" -1 'A' false Some(Regnamespace);
    Regrole 4096 "regrole" "regrole" 4 'N' false None;
    RegroleArray 4097 "_regrole" "regrole[]" -1 'A' false Some(Regrole);
    Regcollation 4191 "regcollation" "regcollation" 4 'N' false None;
    RegcollationArray 4192 "_regcollation" "regcollation[]" -1 'A' false Some(Regcollation);
    Int4multirange 4451 "int4multirange" "int4multirange" -1 'R' false None;
    Nummultirange 4532 "nummultirange" "nummultirange" -1 'R' false None;
    Tsmultirange 4533 "tsmultirange" "tsmultirange" -1 'R' false None;
    Tstzmultirange 4534 "tstzmultirange" "tstzmultirange" -1 'R' false None;
    Datemultirange 4535 "datemultirange" "datemultirange" -1 'R' false None;
    Int8multirange 4536 "int8multirange" "int8multirange" -1 'R' false None;
    Anymultirange 4537 "anymultirange" "anymultirange" -1 'P' false None;
    Anycompatiblemultirange 4538 "anycompatiblemultirange" "anycompatiblemultirange" -1 'P' false None;
    PgBrinBloomSummary 4600 "pg_brin_bloom_summary" "pg_brin_bloom_summary" -1 'Z' false None;
    PgBrinMinmaxMultiSummary 4601 "pg_brin_minmax_multi_summary" "pg_brin_minmax_multi_summary" -1 'Z' false None;
    PgMcvList 5017 "pg_mcv_list" "pg_mcv_list" -1 'Z' false None;
    PgSnapshot 5038 "pg_snapshot" "pg_snapshot" -1 'U' false None;
    PgSnapshotArray 5039 "_pg_snapshot" "pg_snapshot[]" -1 'A' false Some(PgSnapshot);
    Xid8 5069 "xid8" "xid8" 8 'U' false None;
    Anycompatible 5077 "anycompatible" "anycompatible" 4 'P' false None;
    Anycompatiblearray 5078 "anycompatiblearray" "anycompatiblearray" -1 'P' false None;
    Anycompatiblenonarray 5079 "anycompatiblenonarray" "anycompatiblenonarray" 4 'P' false None;
    Anycompatiblerange 5080 "anycompatiblerange" "anycompatiblerange" -1 'P' false None;
    Int4multirangeArray 6150 "_int4multirange" "int4multirange[]" -1 'A' false Some(Int4multirange);
    NummultirangeArray 6151 "_nummultirange" "nummultirange[]" -1 'A' false Some(Nummultirange);
    TsmultirangeArray 6152 "_tsmultirange" "tsmultirange[]" -1 'A' false Some(Tsmultirange);
    TstzmultirangeArray 6153 "_tstzmultirange" "tstzmultirange[]" -1 'A' false Some(Tstzmultirange);
    DatemultirangeArray 6155 "_datemultirange" "datemultirange[]" -1 'A' false Some(Datemultirange);
    Int8multirangeArray 6157 "_int8multirange" "int8multirange[]" -1 'A' false Some(Int8multirange);
}

/// A type that somebody made.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UserType {
    /// Its OID.
    pub oid: u32,
    /// The OID of the array over it, 0 for an array.
    pub array_oid: u32,
    /// `typname`.
    pub name: String,
    /// What `format_type` gives.
    pub shown: String,
    /// What it is.
    pub kind: UserKind,
}

/// The kinds of types that people make.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UserKind {
    /// CREATE TYPE … AS ENUM: its labels in order.
    Enum(Vec<Label>),
    /// CREATE DOMAIN.
    Domain(Domain),
    /// CREATE TYPE … AS (…): names, types and their modifiers.
    Composite(Vec<(String, Type, i32)>),
    /// The array over another.
    Array(Type),
}

/// A label of an enum, as `pg_enum` has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    /// Its row's OID.
    pub oid: u32,
    /// `enumsortorder`, a float4, as bits.
    pub order: u32,
    /// `enumlabel`.
    pub text: String,
    /// Added by a transaction that has not committed, and so not to be used (`EnumUncommitted`).
    pub uncommitted: bool,
}

/// What a domain demands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Domain {
    /// The type it restricts.
    pub base: Type,
    /// Its modifier.
    pub typmod: i32,
    /// NOT NULL.
    pub not_null: bool,
    /// DEFAULT, as text.
    pub default: Option<String>,
    /// CHECK constraints: names and expressions over VALUE, as text.
    pub checks: Vec<(String, String)>,
}

impl Label {
    /// Its value, if that may be used (`check_safe_enum_use`).
    pub fn value(&self, of: &UserType) -> Result<Datum, PgError> {
        if self.uncommitted {
            let (label, ty) = (&self.text, &of.shown);
            return Err(PgError::new(
                SqlState::UNSAFE_NEW_ENUM_VALUE_USAGE,
                format!("unsafe use of new value \"{label}\" of enum type {ty}"),
            )
            .with_hint("New enum values must be committed before they can be used."));
        }
        Ok(Datum::Enum(
            f32::from_bits(self.order),
            self.text.as_str().into(),
        ))
    }
}

impl UserType {
    /// The definition once the transaction has committed that added labels; none if it added none.
    pub fn committed(&self) -> Option<&'static UserType> {
        let UserKind::Enum(labels) = &self.kind else {
            return None;
        };
        if !labels.iter().any(|label| label.uncommitted) {
            return None;
        }
        let labels = labels.iter().cloned().map(|label| Label {
            uncommitted: false,
            ..label
        });
        Some(UserType::intern(UserType {
            oid: self.oid,
            array_oid: self.array_oid,
            name: self.name.clone(),
            shown: self.shown.clone(),
            kind: UserKind::Enum(labels.collect()),
        }))
    }

    /// The one copy of this definition.
    pub fn intern(definition: UserType) -> &'static UserType {
        static DEFINITIONS: Mutex<BTreeSet<&'static UserType>> = Mutex::new(BTreeSet::new());
        let mut definitions = match DEFINITIONS.lock() {
            Ok(definitions) => definitions,
            Err(poisoned) => poisoned.into_inner(),
        };
        if let Some(known) = definitions.get(&definition) {
            return known;
        }
        let kept: &'static UserType = Box::leak(Box::new(definition));
        definitions.insert(kept);
        kept
    }
}

impl Type {
    /// The array over this type.
    pub fn array(self) -> Option<Type> {
        if let Type::User(user) = self {
            return match user.kind {
                UserKind::Array(_) => None,
                _ => Some(Type::User(UserType::intern(UserType {
                    oid: user.array_oid,
                    array_oid: 0,
                    name: format!("_{}", user.name),
                    shown: format!("{}[]", user.shown),
                    kind: UserKind::Array(self),
                }))),
            };
        }
        Type::ALL
            .iter()
            .copied()
            .find(|array| array.element() == Some(self) && array.name().starts_with('_'))
    }

    /// The labels of an enum.
    pub fn labels(self) -> Option<&'static [Label]> {
        match self {
            Type::User(UserType {
                kind: UserKind::Enum(labels),
                ..
            }) => Some(labels),
            _ => None,
        }
    }

    /// What a domain restricts, through all domains; itself if it is none (`getBaseType`).
    pub fn base(self) -> Type {
        match self {
            Type::User(UserType {
                kind: UserKind::Domain(domain),
                ..
            }) => domain.base.base(),
            plain => plain,
        }
    }

    /// Whether it stands for others in a signature.
    pub fn is_pseudo(self) -> bool {
        self.category() == 'P' || self == Type::Unknown
    }

    /// Whether there are values of it here; a column of any other type is refused.
    pub fn has_values(self) -> bool {
        use Type::*;
        if let User(_) = self {
            return true;
        }
        match self.element() {
            Some(_) if matches!(self, Int2vector | Oidvector) => true,
            Some(element) => element != Record && element != Cstring && element.has_values(),
            None => matches!(
                self,
                Bool | Bytea
                    | Char
                    | Name
                    | Int8
                    | Int2
                    | Int4
                    | Regproc
                    | Text
                    | Oid
                    | Xid
                    | Cid
                    | Json
                    | Float4
                    | Float8
                    | Bpchar
                    | Varchar
                    | Date
                    | Time
                    | Timestamp
                    | Timestamptz
                    | Interval
                    | Numeric
                    | Regclass
                    | Regtype
                    | Regnamespace
                    | Regrole
                    | Regprocedure
                    | Record
                    | Void
                    | Uuid
                    | PgLsn
                    | PgSnapshot
                    | TxidSnapshot
                    | Jsonb
                    | Xid8
            ),
        }
    }

    fn key(self) -> u32 {
        self.oid()
    }
}

impl PartialEq for Type {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Type {}

impl PartialOrd for Type {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Type {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sql_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oids_and_types_are_inverse() {
        for &ty in Type::ALL {
            assert_eq!(Type::from_oid(ty.oid()), Some(ty));
            assert_eq!(Type::from_name(ty.name()), Some(ty));
            assert!(
                !ty.name().starts_with('_')
                    || ty
                        .element()
                        .is_none_or(|element| element.array() == Some(ty))
            );
        }
    }
}
