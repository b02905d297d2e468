#!/usr/bin/env perl
# A simulated annotator: ranks answers by how positive their words are. It stands in for people in the samples and
# in tests, and what it judged is always recorded as simulated.
#
# usage: trivium rank --judge "samples/annotator/simulated.pl --lexicon data/vader.txt" ...
#   --lexicon FILE   words with the ratings that ten people gave each (samples/texts.sh vader)
#   --noise X        0: the mean rating of each word, always the same judge (default: 1)
#                    above 0: an annotator of its own mind: each word is rated as one of its ten raters did, drawn
#                    anew for each answer, plus a normal deviate of X points
#   --seed N         which annotator (default: 1)
#
# Promise: speaks the judge protocol of `trivium rank`: a line {"id","prompt","responses":[{"id","text"},...]} in, a line
# {"id":...,"ranking":[[best ids],[next],...]} out, in order. An answer's score is the sum over its different words: saying
# a word twice earns nothing. Capitalised words are names and count nothing. Scores that round to the same
# whole point are tied. The draws depend on seed, item, answer and word alone, so a judgment repeats.
use strict;
use warnings;
use Digest::MD5 'md5';
use JSON::PP;

my %option = (lexicon => undef, noise => 1, seed => 1);
while (@ARGV) {
    my $name = shift @ARGV;
    if ($name eq '-h' || $name eq '--help') {
        open my $self, '<', $0 or die "$0: $!\n";
        while (<$self>) { last if !/^#/; next if /^#!/; s/^# ?//; print; }
        exit 0;
    }
    fail("unknown option '$name' (try --help)") if $name !~ /^--(\w+)$/ || !exists $option{$1};
    $option{$1} = shift @ARGV // fail("$name wants a value");
}
fail('--lexicon is missing (samples/texts.sh vader fetches one)') if !defined $option{lexicon};
fail("--noise wants a number of at least 0, found '$option{noise}'") if $option{noise} !~ /^\d*\.?\d+$/;

sub fail { print STDERR "simulated annotator: @_\n"; exit 2; }

# "happy<TAB>2.7<TAB>0.9<TAB>[2, 2, 2, 4, ...]": word, mean, deviation, what each of ten people said (-4 to 4).
my %ratings;
open my $lexicon, '<', $option{lexicon} or fail("cannot read $option{lexicon}: $!");
while (<$lexicon>) {
    my ($word, undef, undef, $list) = split /\t/;
    my @all = ($list // '') =~ /-?\d+/g;
    fail("$option{lexicon} line $.: expected a word, a mean, a deviation and ratings") if !@all;
    $ratings{$word} = \@all if $word =~ /^[a-z'-]+$/;
}
fail("$option{lexicon} holds no word") if !%ratings;

# Three numbers in [0, 1), always the same for the same arguments.
sub draws { return map { $_ / 2**32 } unpack 'N3', md5(join "\0", $option{seed}, @_); }

sub rating {
    my ($item, $answer, $word) = @_;
    my $all = $ratings{$word};
    if ($option{noise} == 0) {
        my $sum = 0;
        $sum += $_ for @$all;
        return $sum / @$all;
    }
    my ($who, $u, $v) = draws($item, $answer, $word);
    return $all->[$who * @$all] + $option{noise} * sqrt(-2 * log(1 - $u)) * cos(6.283185307179586 * $v);
}

sub score {
    my ($item, $answer, $text) = @_;
    my (%seen, $sum);
    $sum = 0;
    for my $word ($text =~ /([A-Za-z][A-Za-z'-]*)/g) {
        $word =~ s/['-]+$//;
        $sum += rating($item, $answer, $word) if $ratings{$word} && !$seen{$word}++;
    }
    return $option{noise} == 0 ? $sum : int($sum + ($sum < 0 ? -0.5 : 0.5));
}

my $json = JSON::PP->new->latin1->allow_nonref->canonical; # texts are bytes
$| = 1;
while (my $line = <STDIN>) {
    my $item = eval { $json->decode($line) };
    fail("line $.: expected an item as JSON, found: " . substr $line, 0, 80) if ref $item ne 'HASH' || ref $item->{responses} ne 'ARRAY';
    my %groups;
    for my $response (@{$item->{responses}}) {
        push @{$groups{score($item->{id}, $response->{id}, $response->{text})}}, $response->{id};
    }
    print $json->encode({id => $item->{id}, ranking => [map { $groups{$_} } sort { $b <=> $a } keys %groups]}), "\n";
}
