//! The vocabulary: stems and endings written here, combined once into a table of 8192.

use std::collections::BTreeSet;
use std::sync::LazyLock;

/// Number of words: a power of two, so that a word is picked with 13 random bits.
const COUNT: usize = 1 << 13;

/// Words taken as they are: what holds sentences together, and the subject's own terms.
const PLAIN: &str = "a about above across after again all almost along also although always among an and another any \
are around as at away back be became because become been before began behind being below beside best better between \
beyond both brief bring but by call came can carry case cause certain change clear close come common compare could \
course day deep did differ do does done down draw due each early easy either else end enough equal even ever every \
example face fact few find first five follow for form four free from full further gave general get give given go good \
great group grow had half hand hard has have head hear held help here high hold how however idea if in inside instead \
into is it its itself join just keep kind know large last late later lead least leave left less let level life light \
like line list little long look low made main make many mark may mean might more most move much must name near need \
never new next no nor not note now number of off often old on once one only open or order other our out over own page \
part past people per place plain plan play point put quick quite rather reach read reason right room round rule run \
said same say second see seem seen sense set several shape share short should show side simple since six small so some \
soon sort speak stand start state step still such sure take talk task tell ten term test text than that the their them \
then there these they thing think third this those though three through time to together told too took toward true try \
turn two under until up upon use very view want was way we week well went were what when where which while who whole \
why wide will with within without word work would write year yes yet you young your algebra atlas biology chapter \
chemistry civics climate decimal diagram dialogue economy ecology energy ethics experiment fable fraction galaxy \
geography geometry glacier grammar gravity habitat history hypothesis journal language lesson literacy logic magnet \
matrix melody metaphor molecule museum narrative nutrient orbit organism paragraph pattern photosynthesis physics \
planet poem poetry polygon population prism probability pupil puzzle quotient ratio reader rhythm river satire school \
science seminar sonata species statistics story student syllable symbol symmetry syntax teacher theorem theory tissue \
topic tundra variable vector verb volcano vowel workshop";

/// Stems that take endings.
const STEMS: &str = "absorb abstract accept account achiev act adapt adjust admit adopt advanc affect agre align \
alter amplif analog anchor annotat answer appear appl apprais approach approv argu arrang assembl assert assess assign \
assist associat assum attach attain attempt attend attract balanc bas blend bound break bridg broad build calculat \
captur categor celebrat challeng charact chart check choos circl cit claim clarif class climb coach collaborat collect \
color combin comment communicat complet compos compound comprehend comput concentrat concept conclud condens conduct \
confirm connect conserv consider consist construct consult consum contact contain contend contextual contrast \
contribut control convert convinc cooperat correct correlat count cover craft creat critic cultivat cycl debat decid \
declar decod decompos deduc defend defin delegat deliver demonstrat depend deriv describ design detail detect \
determin develop devot diagnos differentiat digest direct discern discover discuss display distil distinguish distribut \
divid document draft dramat edit educat elaborat elect elevat emerg emphas employ enabl encod encourag engag enhanc \
enlarg enrich equat establish estimat evaluat evolv examin exchang execut exercis exhibit expand expect experienc \
explain explor expos express extend extract facilitat factor familiar fascinat featur filter focus forecast formulat \
foster found fram fulfil function gather generat govern grad graph guid handl harmon highlight hypothes identif \
illustrat imagin imitat implement impl improv includ incorporat indicat infer influenc inform inhabit initiat innovat \
inquir inspect inspir instruct integrat intend interact interest interpret interrupt introduc invent investigat invit \
involv isolat iterat judg justif label learn lectur limit link listen locat maintain manipulat map master match matur \
measur mediat memor mentor merg migrat minim mirror model modif monitor motivat multipl narrat navigat negotiat \
nourish observ obtain occup operat optim orchestrat organ orient outlin overcom paraphras participat perceiv perform \
permit persist persuad pictur pilot pivot pos possess practic prais predict prefer prepar present preserv prevent \
probl proceed produc program progress project promot prompt propos protect prov provid publish pursu qualif quer \
question radiat rank react realis recall receiv recit recogn recommend reconstruct record recover redesign reduc refer \
refin reflect regard register regulat rehears reinforc relat releas rememb remind repeat rephras report represent \
request research resembl resolv respect respond restor result retain retel retriev reveal revers review revis reward \
rotat sampl scaffold schedul scor search select separat sequenc serv settl sign simplif simulat sketch solv specif \
speculat stabil stimulat strengthen structur stud submit substitut succeed suggest summar supplement support suppos \
survey sustain synthes tabulat target teach test theor thread trac track train transfer transform translat transmit \
travel treat trigger tutor unif updat util valid valu var verif visual voic weigh welcom wonder yield";

/// Endings of those stems.
const ENDINGS: [&str; 20] = [
    "ed", "ing", "es", "ation", "ations", "able", "ive", "ively", "ment", "ments", "er", "ers", "ence",
    "ory", "al", "ally", "ure", "ings", "ability", "ant",
];

/// Returns the vocabulary, sorted by frequency group: the plain words stand many times, as they do in prose.
pub fn vocabulary() -> &'static [String] {
    static WORDS: LazyLock<Vec<String>> = LazyLock::new(build);
    &WORDS
}

fn build() -> Vec<String> {
    let plain: BTreeSet<&str> = PLAIN.split_whitespace().collect();
    let mut words: Vec<String> = Vec::with_capacity(COUNT);
    // About a third of the picks fall on plain words, which are few: prose has a head as well as a tail.
    while words.len() + plain.len() <= COUNT / 3 {
        words.extend(plain.iter().map(|word| (*word).to_owned()));
    }
    let stems: BTreeSet<&str> = STEMS.split_whitespace().collect();
    'fill: for ending in ENDINGS {
        for stem in &stems {
            if words.len() == COUNT {
                break 'fill;
            }
            words.push(format!("{stem}{ending}"));
        }
    }
    // Should the tables above ever shrink, the rest is filled with compounds, so that the length holds.
    let mut index = 0;
    while words.len() < COUNT {
        words.push(format!("{}-{}", words[index], words[index * 7 % 1000]));
        index += 1;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vocabulary_is_a_power_of_two_and_broad() {
        assert_eq!(vocabulary().len(), COUNT);
        assert!(COUNT.is_power_of_two());
        let different: BTreeSet<&String> = vocabulary().iter().collect();
        assert!(different.len() > 5_000, "{}", different.len());
    }
}
